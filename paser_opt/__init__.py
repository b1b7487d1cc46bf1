"""paser-opt: adaptive segmentation pipelines (PaSeR, AAAI 2024), priced by what they cost on a real device.

data        images and masks → D_PT, D_RL, D_FT, val, test
models      f_0 … f_m and the policy, from configurations
train       pretrain → distill → policy → fine-tune, each stage kept in a store
routing     one image through f_0, the policy, the patches' models, and back into one mask
cost        what each of these steps takes on the device → what any route takes
evaluate    confusion matrices, IoU, intervals
routers     thresholds, cascade, priced gains, policies, random, oracle: one protocol
search      Optuna over λ, β, S, sizes: one trial trains one pipeline
report      the front, what to deploy, and where every number comes from
"""
