"""The colours of the pictures, which `docs.tools.pictures.as_svg` makes those of the page."""

TEXT, A, B, BETWEEN = "#010203", "#1f77b5", "#d9691e", "#2f9e4f"
