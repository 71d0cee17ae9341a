#!/bin/bash
# A Slurm job of several machines:
#   sbatch --nodes=4 --gpus-per-node=2 sweeps/cluster/slurm.sh sweeps/width.py --width 1 2 4
# from the repository's folder, which all machines see, as they do in most Slurm clusters.
#SBATCH --job-name=llfc
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
# The cores of a machine, and all of its memory.
#SBATCH --cpus-per-task=8
#SBATCH --mem=0
#SBATCH --requeue
#SBATCH --time=24:00:00
set -euo pipefail

# EDIT THESE TWO: a folder that all machines see at the same path; where MLflow listens.
export LLFC_STORAGE=/shared/llfc
export MLFLOW_TRACKING_URI=http://tracking.example:5000
# The fraction of a GPU that each worker gets; 0 on machines without GPUs.
export LLFC_GPUS_PER_TRIAL=0.25
# Where data sets are downloaded to, once for all machines.
export LLFC_DATA="$LLFC_STORAGE/data"

cd "$SLURM_SUBMIT_DIR"
make setup
export PATH="$PWD/.venv/bin:$PATH" RAY_USAGE_STATS_ENABLED=0
# Other jobs of these machines can reach Ray's ports; the token lies in a home that all machines see.
export RAY_AUTH_MODE=token
(umask 077; ray get-auth-token --generate > /dev/null)
chmod 600 ~/.ray/auth_token
cores=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Some machines call themselves 127.0.1.1 in /etc/hosts: no other would find the head there.
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname -I | tr ' ' '\n' \
    | grep -E '^[0-9]+(\.[0-9]+){3}$' | grep -v '^127\.' | head -n 1)
# Two jobs of one machine must not take one another's cluster for theirs.
port=$((20000 + SLURM_JOB_ID % 10000))

srun --nodes=1 --ntasks=1 --cpus-per-task="$cores" --nodelist="$head" \
    ray start --block --head --node-ip-address="$address" --port="$port" --num-cpus="$cores" &
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    # A machine that is up before the head tries again until the head is.
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) \
        --cpus-per-task="$cores" --exclude="$head" ray start --block --address="$address:$port" --num-cpus="$cores" &
fi
until ray health-check --address "$address:$port" 2>/dev/null; do sleep 2; done

# The batch script runs on the head; when it ends, Slurm ends Ray.
RAY_ADDRESS="$address:$port" LLFC_NODE_TIMEOUT=300 python "$@"
