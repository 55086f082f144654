// Command controlplane is a Kubernetes control plane in one binary: etcd with kube-apiserver, or the namespace and
// garbage collectors of kube-controller-manager. It has no nodes: what localcloud needs of Kubernetes is its API.
//
//	controlplane apiserver --etcd-dir DIR [kube-apiserver flags]
//	controlplane controllers [kube-controller-manager flags]
//
// The process ends when its standard input closes, so that it never outlives the process that started it, on systems
// without a parent-death signal too.
package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	go exitWithParent()
	if len(os.Args) < 2 {
		fail(fmt.Errorf("name apiserver or controllers"))
	}
	arguments := os.Args[2:]
	switch os.Args[1] {
	case "apiserver":
		if len(arguments) < 2 || arguments[0] != "--etcd-dir" {
			fail(fmt.Errorf("apiserver needs --etcd-dir DIR first"))
		}
		endpoint, err := startEtcd(arguments[1])
		if err != nil {
			fail(err)
		}
		command := apiserver.NewAPIServerCommand()
		command.SetArgs(append(arguments[2:], "--etcd-servers="+endpoint))
		os.Exit(cli.Run(command))
	case "controllers":
		command := controllers.NewControllerManagerCommand()
		command.SetArgs(arguments)
		os.Exit(cli.Run(command))
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

// startEtcd serves one etcd member on a Unix socket in dir and returns its endpoint once it is ready.
func startEtcd(dir string) (string, error) {
	config := embed.NewConfig()
	config.Dir = filepath.Join(dir, "data")
	config.LogLevel = "error"
	// A development cloud: a power cut may lose it, a killed process does not.
	config.UnsafeNoFsync = true
	// The only member need not wait a second for others to stand for election.
	config.TickMs, config.ElectionMs = 10, 100
	// etcd wants "host:port" of sockets too; it is the name of the file.
	client := url.URL{Scheme: "unix", Host: "etcd.sock:0"}
	peer := url.URL{Scheme: "unix", Host: "peer.sock:0"}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	if err := os.Chdir(dir); err != nil { // socket paths are relative: the length of a full path is limited
		return "", err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return "", err
	}
	select {
	case <-server.Server.ReadyNotify():
		return client.String(), nil
	case err := <-server.Err():
		return "", err
	case <-time.After(30 * time.Second):
		return "", fmt.Errorf("etcd was not ready within 30 s")
	}
}

// exitWithParent waits for the end of standard input, which the parent's death brings about.
func exitWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "controlplane:", err)
	os.Exit(1)
}
