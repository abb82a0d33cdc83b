package enginetest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/revisit-go/revisit"
)

const (
	child      = "REVISIT_ENGINETEST_CHILD"
	flushEvery = 400 * time.Millisecond
)

// Serve is what a TestMain calls first: in the process that Killed kills it serves
// visitors on a store, and does not return.
func Serve(open func(address string) (revisit.Store, error)) {
	address := os.Getenv(child)
	if address == "" {
		return
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	store, err := open(address)
	fail(err)
	tr, err := revisit.New(revisit.Config{
		Keys: [][]byte{make([]byte, 32)}, Store: store, Strategy: revisit.Cookie{}, FlushEvery: flushEvery,
		Consent: func(*http.Request) revisit.Permission { return revisit.Restore },
	})
	fail(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	fmt.Println(l.Addr())
	fail(http.Serve(l, tr.Handler(page)))
}

// Killed has a process serve visitors on the store at an address, kills it in the
// middle of its flushes, and looks at what is there: all but the page views of the
// last FlushEvery, and none twice.
func Killed(t *testing.T, store revisit.Store, address string, times int) {
	var lost, total int64
	for range times {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), child+"="+address)
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + strings.TrimSpace(line) + "/"

		type visitor struct {
			id       revisit.ID
			answered []time.Time
			asked    int64
		}
		visitors := make([]visitor, 16)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range visitors {
			v := &visitors[i]
			wg.Go(func() {
				cookie := ""
				for {
					select {
					case <-stop:
						return
					default:
					}
					r, err := http.NewRequest("GET", url, nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Cookie", cookie)
					v.asked++
					resp, err := http.DefaultClient.Do(r)
					if err != nil {
						return
					}
					resp.Body.Close()
					for _, c := range resp.Cookies() {
						cookie = c.Name + "=" + c.Value
					}
					if id, err := revisit.ParseID(resp.Header.Get("X-Id")); err == nil && resp.Header.Get("X-Unverified") == "false" {
						v.id = id
						v.answered = append(v.answered, time.Now())
					}
				}
			})
		}
		time.Sleep(1700 * time.Millisecond)
		killed := time.Now()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		close(stop)
		wg.Wait()
		time.Sleep(100 * time.Millisecond) // what the engine was asked may still be under way
		for i, v := range visitors {
			r, err := store.Load(t.Context(), v.id)
			if err != nil {
				t.Errorf("visitor %d: %v", i, err)
				continue
			}
			var certain int64
			for _, at := range v.answered {
				if killed.Sub(at) > flushEvery+200*time.Millisecond { // the batch itself takes its time
					certain++
				}
			}
			if r.Hits < certain || r.Hits > v.asked {
				t.Errorf("visitor %d: %d page views are there; %d were answered longer ago than FlushEvery, %d asked for", i, r.Hits, certain, v.asked)
			}
			lost += int64(len(v.answered)) - min(r.Hits, int64(len(v.answered)))
			total += int64(len(v.answered))
		}
	}
	t.Logf("killed %d times: of %d page views that were answered, %d of the last %v are lost", times, total, lost, flushEvery)
}
