// One exec session with client-go's WebSocket executor, measured from inside: JSON with seconds, CPU seconds, bytes and times.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log"
	"os"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
)

type counter struct{ total int64 }

func (c *counter) Write(data []byte) (int, error) {
	c.total += int64(len(data))
	return len(data), nil
}

type zeros struct{}

func (zeros) Read(data []byte) (int, error) {
	clear(data)
	return len(data), nil
}

type measured struct {
	Wall  float64   `json:"wall"`
	CPU   float64   `json:"cpu"`
	Moved int64     `json:"moved"`
	Times []float64 `json:"times"`
}

func cpu() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		log.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

func echo(in io.WriteCloser, out io.Reader, count int64, times chan<- []float64) {
	found, data, back := []float64{}, make([]byte, 64), make([]byte, 64)
	for ; count > 0; count-- {
		begun := time.Now()
		if _, err := in.Write(data); err != nil {
			break
		}
		if _, err := io.ReadFull(out, back); err != nil {
			break
		}
		found = append(found, time.Since(begun).Seconds())
	}
	in.Close()
	times <- found
	io.Copy(io.Discard, out)
}

func main() {
	file := flag.String("kubeconfig", "", "its path")
	where := flag.String("context", "", "a context of it")
	namespace := flag.String("namespace", "default", "of the pod")
	pod := flag.String("pod", "bench", "its name")
	mode := flag.String("mode", "down", "down, run, up, duplex or echo")
	number := flag.Int64("number", 0, "bytes of stdin, or echoes")
	flag.Parse()

	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: *file},
		&clientcmd.ConfigOverrides{CurrentContext: *where}).ClientConfig()
	if err != nil {
		log.Fatal(err)
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	stdin := *mode == "up" || *mode == "duplex" || *mode == "echo"
	url := clients.CoreV1().RESTClient().Get().Resource("pods").Namespace(*namespace).Name(*pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: flag.Args(), Stdin: stdin, Stdout: true, Stderr: !stdin}, scheme.ParameterCodec).URL()

	var kept bytes.Buffer
	var result measured
	count := &counter{}
	times := make(chan []float64, 1)
	options := remotecommand.StreamOptions{Stdout: count}
	if !stdin {
		options.Stderr = io.Discard
	}
	switch *mode {
	case "run":
		options.Stdout = &kept
	case "up", "duplex":
		options.Stdin = io.LimitReader(zeros{}, *number)
	case "echo":
		near, in := io.Pipe()
		out, far := io.Pipe()
		options.Stdin, options.Stdout = near, far
		go echo(in, out, *number, times)
	}
	used, begun := cpu(), time.Now()
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
	if err != nil {
		log.Fatal(err)
	}
	if err := executor.StreamWithContext(context.Background(), options); err != nil {
		log.Fatal(err)
	}
	result.Wall, result.CPU = time.Since(begun).Seconds(), cpu()-used
	result.Moved = count.total + int64(kept.Len())
	if *mode == "echo" {
		result.Times = <-times
	}
	json.NewEncoder(os.Stdout).Encode(result)
}
