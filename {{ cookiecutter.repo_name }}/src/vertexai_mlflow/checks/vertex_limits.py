"""Vertex AI's regions, GPUs and largest machine. Google adds to them all the time, so others are only a warning."""

# google.cloud.aiplatform.constants.base.SUPPORTED_REGIONS of google-cloud-aiplatform 2.7; a test of the template
# compares them. The package itself takes seconds to import.
REGIONS = {
    "africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3",
    "asia-south1", "asia-south2", "asia-southeast1", "asia-southeast2", "australia-southeast1", "australia-southeast2",
    "europe-central2", "europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west2",
    "europe-west3", "europe-west4", "europe-west6", "europe-west8", "europe-west9", "europe-west12",
    "me-central1", "me-central2", "me-west1", "northamerica-northeast1", "northamerica-northeast2",
    "southamerica-east1", "southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5", "us-east7",
    "us-south1", "us-west1", "us-west2", "us-west3", "us-west4", "us-west8",
}  # fmt: skip
# google.cloud.aiplatform_v1.AcceleratorType of the same version.
GPU_TYPES = {
    "NVIDIA_TESLA_K80", "NVIDIA_TESLA_P100", "NVIDIA_TESLA_V100", "NVIDIA_TESLA_P4", "NVIDIA_TESLA_T4",
    "NVIDIA_TESLA_A100", "NVIDIA_A100_80GB", "NVIDIA_L4", "NVIDIA_H100_80GB", "NVIDIA_H100_MEGA_80GB",
    "NVIDIA_H200_141GB", "NVIDIA_B200", "NVIDIA_GB200", "NVIDIA_RTX_PRO_6000",
    "TPU_V2", "TPU_V3", "TPU_V4_POD", "TPU_V5_LITEPOD",
}  # fmt: skip
# The largest machine of a step: https://cloud.google.com/vertex-ai/docs/pipelines/machine-types
MAX_CPUS = 96
MAX_MEMORY = 624 * 10**9  # bytes
