"""A training, as a cluster runs it: a policy that learns from samples, or from its own rollouts; an editor.

    ray job submit --working-dir . -- python jobs/train.py policy-sft --config my.yaml
    ray job submit --working-dir . -- python jobs/train.py policy-grpo --config my.yaml
    ray job submit --working-dir . -- python jobs/train.py editor-sft --config my.yaml
    ray job submit --working-dir . -- python jobs/train.py editor-nft --config my.yaml

Takes what `mira-batch train` takes. Data and output must be object stores or paths that every node sees. The
driver (this process) only looks at the data's rows and waits; workers learn, on `workers.num` GPUs.
"""

import sys

from mira_batch.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    sys.exit(main())
