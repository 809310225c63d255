"""The machine under the engine: device, threads, memory, and kernels for the CPU."""
