"""A real Kubernetes control plane without nodes: etcd, kube-apiserver, and the namespace and garbage collectors."""
