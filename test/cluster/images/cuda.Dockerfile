# What the trainer's image stands on when its engine has CUDA's kernels: cuBLASLt, where that engine looks for it. A layer of its own, since
# it is 540 MB and outlives many trainers. The driver comes from the node, into pods that asked for a GPU: "void" shows none to the others,
# also where NVIDIA's runtime is the node's default; the device plugin, or docker's --gpus, puts the devices there.
ARG BASE
FROM ${BASE}
COPY libcublasLt.so.13 /app/build/native/libcublasLt.so.13
ENV NVIDIA_VISIBLE_DEVICES=void NVIDIA_DRIVER_CAPABILITIES=compute,utility
