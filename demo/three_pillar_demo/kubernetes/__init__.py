"""Run the demo on the Kubernetes cluster that kubectl reaches: deploy/kubernetes/small."""
