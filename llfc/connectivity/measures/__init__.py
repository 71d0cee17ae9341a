"""What can be measured of two networks beyond the walk along their line; each measure is a file.

`llfc.connectivity.subject` says what a measure looks at and gives back; `registry` has every
measure by name.
"""
