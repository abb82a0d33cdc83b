//go:build unix

// Package servers starts real servers for tests, databases and others: those of
// Debian's packages, on free ports of loopback, in temporary folders, ended by process id.
// One that is missing fails the test: make deps installs them.
package servers

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is a process that can be stopped, killed and started again.
type Server struct {
	Address string // host:port on loopback
	Socket  string // folder of its Unix socket, for PostgreSQL

	command func() *exec.Cmd
	ready   func() error
	cmd     *exec.Cmd
	done    chan struct{}
}

// patience is how long a server may take to start.
const patience = 60 * time.Second

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// FreeAddress returns host:port on loopback that nobody listens at.
func FreeAddress(t testing.TB) string {
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}

// Process starts any other server, which is there once it listens at address.
func Process(t testing.TB, address string, command func() *exec.Cmd) *Server {
	t.Helper()
	s := &Server{Address: address, command: command, ready: func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	}}
	t.Cleanup(s.stop) // also if it does not start
	s.Start(t)
	return s
}

// Start starts it, and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.cmd = s.command()
	s.cmd.SysProcAttr = merge(s.cmd.SysProcAttr)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, done := s.cmd, make(chan struct{})
	s.done = done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := s.ready()
		if err == nil {
			return
		}
		select {
		case <-done:
			t.Fatalf("%s has ended: %v", s.cmd.Path, err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %v", s.cmd.Path, err)
		}
	}
}

func merge(a *syscall.SysProcAttr) *syscall.SysProcAttr {
	if a == nil {
		a = &syscall.SysProcAttr{}
	}
	a.Setpgid = true // its children end with it
	return a
}

// Signal sends a signal to the server and its children. Those of PostgreSQL have
// sessions of their own.
func (s *Server) Signal(signal syscall.Signal) {
	parents := make(map[int][]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		begin := strings.LastIndexByte(string(text), ')') // the name may hold anything
		if _, err := fmt.Sscan(string(text[begin+1:]), &state, &parent); err != nil {
			continue
		}
		if _, err := fmt.Sscan(string(text), &pid); err == nil {
			parents[parent] = append(parents[parent], pid)
		}
	}
	for todo := []int{s.cmd.Process.Pid}; len(todo) > 0; todo = todo[1:] {
		_ = syscall.Kill(todo[0], signal)
		todo = append(todo, parents[todo[0]]...)
	}
}

// Kill ends it at once, as a power cut does, but for the disk.
func (s *Server) Kill() {
	s.Signal(syscall.SIGKILL)
	<-s.done
}

func (s *Server) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.Signal(syscall.SIGCONT)
	s.Signal(syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		s.Kill()
	}
}

// Redis starts a redis-server, without files.
func Redis(t testing.TB, options ...string) *Server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is missing: run make deps")
	}
	port := freePort(t)
	dir := t.TempDir()
	s := &Server{Address: fmt.Sprintf("127.0.0.1:%d", port)}
	s.command = func() *exec.Cmd {
		args := append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--loglevel", "warning"}, options...)
		return exec.Command(path, args...)
	}
	s.ready = func() error {
		conn, err := net.DialTimeout("tcp", s.Address, time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			return err
		}
		answer := make([]byte, 7)
		if _, err := conn.Read(answer); err != nil {
			return err
		}
		if string(answer[:5]) != "+PONG" {
			return errors.New(string(answer)) // it is loading
		}
		return nil
	}
	s.Start(t)
	t.Cleanup(s.stop)
	return s
}

// PostgreSQL starts a server with a new cluster, which anybody on loopback may
// use as the user postgres, and on its Unix socket.
func PostgreSQL(t testing.TB, options ...string) *Server {
	t.Helper()
	return cluster(t, func(data string, as func(string, ...string) *exec.Cmd) *exec.Cmd {
		return as("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
	}, options)
}

// cluster starts a PostgreSQL whose folder a command makes.
func cluster(t testing.TB, create func(data string, as func(string, ...string) *exec.Cmd) *exec.Cmd, options []string) *Server {
	t.Helper()
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		t.Fatal("PostgreSQL is missing: run make deps")
	}
	bin := bins[len(bins)-1]
	// A short path: that of a socket has 107 bytes at most.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	credential, err := unprivileged(dir)
	if err != nil {
		t.Fatal(err)
	}
	as := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		if credential != nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		}
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := create(data, as).CombinedOutput(); err != nil {
		t.Fatalf("the folder of PostgreSQL: %v: %s", err, out)
	}
	port := freePort(t)
	s := &Server{Address: fmt.Sprintf("127.0.0.1:%d", port), Socket: dir}
	s.command = func() *exec.Cmd {
		_ = os.Remove(filepath.Join(data, "postmaster.pid")) // of one that was killed
		args := []string{"-D", data, "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-k", dir, "-c", "log_min_messages=fatal"}
		for _, o := range options {
			args = append(args, "-c", o)
		}
		return as("postgres", args...)
	}
	s.ready = func() error {
		out, err := as("pg_isready", "-h", dir, "-p", strconv.Itoa(port), "-U", "postgres").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	s.Start(t)
	t.Cleanup(s.stop)
	return s
}

// Replica starts a PostgreSQL that follows another one, and may be promoted. It is given
// what the other has, and streams the rest.
func (s *Server) Replica(t testing.TB) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(s.Address)
	return cluster(t, func(data string, as func(string, ...string) *exec.Cmd) *exec.Cmd {
		return as("pg_basebackup", "-D", data, "-h", host, "-p", port, "-U", "postgres", "-R", "-c", "fast", "--no-sync")
	}, nil)
}

// PgBouncer starts a pooler in transaction mode in front of a PostgreSQL, with so many
// connections to it.
func PgBouncer(t testing.TB, database *Server, connections int) *Server {
	t.Helper()
	path := "/usr/sbin/pgbouncer"
	if _, err := os.Stat(path); err != nil {
		t.Fatal("pgbouncer is missing: run make deps")
	}
	dir, err := os.MkdirTemp("", "pgb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	credential, err := unprivileged(dir)
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(database.Address)
	own := freePort(t)
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
`, host, port, own, connections)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return Process(t, fmt.Sprintf("127.0.0.1:%d", own), func() *exec.Cmd {
		cmd := exec.Command(path, "-q", config)
		cmd.Dir = dir
		if credential != nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		}
		return cmd
	})
}

// unprivileged returns who is to run PostgreSQL, which refuses to run as root, and
// gives that user a folder; nil for the user of the test.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}
