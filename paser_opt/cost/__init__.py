"""What a pipeline costs on a device: measured once per step, then composed for any route.

    workload → flops · latency · memory · energy → profile (JSON, by key) → curve → predict

This room knows nothing of models or training: others hand it modules with example inputs.
"""
