// Goroutines, channels, timers, the collector, a server on the loopback, files and other programs.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var wait sync.WaitGroup
	numbers, sums := make(chan int, 10), make(chan int)
	for range [8]int{} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			sum := 0
			for n := range numbers {
				sum += n
			}
			sums <- sum
		}()
	}
	go func() {
		for n := 1; n <= 100000; n++ {
			numbers <- n
		}
		close(numbers)
		wait.Wait()
		close(sums)
	}()
	total := 0
	for sum := range sums {
		total += sum
	}
	fmt.Println("channels", total)

	// Threads of the system, all at once.
	var locked atomic.Int32
	var hold sync.WaitGroup
	release := make(chan struct{})
	for range [16]int{} {
		hold.Add(1)
		go func() {
			defer hold.Done()
			runtime.LockOSThread()
			locked.Add(1)
			<-release
		}()
	}
	for locked.Load() < 16 {
		time.Sleep(time.Millisecond)
	}
	close(release)
	hold.Wait()
	fmt.Println("threads", locked.Load())

	var kept [][]byte
	for i := 0; i < 400; i++ {
		kept = append(kept[max(0, len(kept)-8):], make([]byte, 1<<20))
	}
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collected", stats.NumGC > 2, stats.HeapAlloc < 100<<20, len(kept))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				io.Copy(connection, connection)
			}()
		}
	}()
	var served atomic.Int64
	for range [50]int{} {
		hold.Add(1)
		go func() {
			defer hold.Done()
			connection, err := net.Dial("tcp", listener.Addr().String())
			must(err)
			connection.Write(make([]byte, 10000))
			must(connection.(*net.TCPConn).CloseWrite())
			back, err := io.ReadAll(connection)
			must(err)
			served.Add(int64(len(back)))
		}()
	}
	hold.Wait()
	fmt.Println("served", served.Load())
	_, err = net.DialTimeout("tcp", "192.0.2.1:80", 5*time.Second)
	fmt.Println("outside", strings.HasSuffix(fmt.Sprint(err), "network is unreachable"))

	must(os.WriteFile("written", []byte("abc"), 0o644))
	read, err := os.ReadFile("written")
	must(err)
	fmt.Printf("file %x\n", sha256.Sum256(read))

	command := exec.Command("tr", "a-z", "A-Z")
	command.Stdin = strings.NewReader("shouted\n")
	output, err := command.Output()
	must(err)
	fmt.Print(string(output))
	err = exec.Command("sh", "-c", "exit 3").Run()
	fmt.Println(err)

	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGUSR1)
	must(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	fmt.Println("caught", <-caught)
	select {
	case <-time.After(20 * time.Millisecond):
		fmt.Println("time")
	case <-caught:
	}
	defer func() { fmt.Println("recovered", recover() != nil) }()
	var nothing *sync.Mutex
	nothing.Lock()
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}
