package redisstore_test

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/enginetest"
	"github.com/revisit-go/revisit/internal/servers"
	"github.com/revisit-go/revisit/redisstore"
)

// do executes a command, given by its words.
func do(t testing.TB, c rueidis.Client, words ...string) {
	t.Helper()
	require.NoError(t, c.Do(context.Background(), c.B().Arbitrary(words...).Build()).Error())
}

func info(t testing.TB, c rueidis.Client) string {
	t.Helper()
	text, err := c.Do(context.Background(), c.B().Info().Build()).ToString()
	require.NoError(t, err)
	return text
}

// follow has one server be the replica of another, and waits until it has all.
func follow(t testing.TB, replica rueidis.Client, primary *servers.Server) {
	t.Helper()
	host, port, _ := strings.Cut(primary.Address, ":")
	do(t, replica, "REPLICAOF", host, port)
	require.Eventually(t, func() bool { return strings.Contains(info(t, replica), "master_link_status:up") }, time.Minute, 20*time.Millisecond)
}

func cutOff(t testing.TB, replica rueidis.Client) { do(t, replica, "REPLICAOF", "127.0.0.1", "1") }

func record() revisit.Record {
	now := time.UnixMilli(time.Now().UnixMilli()).UTC()
	r := revisit.Record{Version: rand.Int64()>>1 + 1, Created: now, LastSeen: now, Expires: now.Add(time.Hour), Via: "cookie"}
	for i := range r.ID {
		r.ID[i] = byte(rand.Uint32())
	}
	r.ID[6], r.ID[8] = r.ID[6]&0x0f|0x70, r.ID[8]&0x3f|0x80
	return r
}

func tombstone(id revisit.ID) revisit.Record {
	r := record()
	return revisit.Record{ID: id, Version: r.Version, Created: r.Created, Expires: r.Expires, Forgotten: true}
}

// A server that loses what it is given is found at the start.
func TestCheck(t *testing.T) {
	keeps := []string{"--appendonly", "yes"}
	for name, c := range map[string]struct {
		options  []string
		replicas int
		faults   []string
	}{
		"as it should be":               {keeps, 0, nil},
		"noeviction with a limit":       {append(keeps, "--maxmemory", "100mb"), 0, nil},
		"a policy without a limit":      {append(keeps, "--maxmemory-policy", "allkeys-lru"), 0, nil},
		"allkeys-lru":                   {append(keeps, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), 0, []string{"allkeys-lru"}},
		"volatile-ttl":                  {append(keeps, "--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"), 0, []string{"volatile-ttl"}},
		"nothing is written down":       {nil, 0, []string{"appendonly"}},
		"no replicas":                   {keeps, 2, []string{"it has 0 replicas, Options.Replicas is 2"}},
		"all of it":                     {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"}, 1, []string{"volatile-lru", "appendonly", "Options.Replicas"}},
		"CONFIG is forbidden, as often": {append(keeps, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-random", "--rename-command", "CONFIG", ""), 0, []string{"allkeys-random"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := servers.Redis(t, c.options...)
			client, _ := open(t, server.Address)
			err := redisstore.New(client, redisstore.Options{Replicas: c.replicas}).Check(t.Context())
			if c.faults == nil {
				assert.NoError(t, err)
				return
			}
			for _, fault := range c.faults {
				assert.ErrorContains(t, err, fault)
			}
			assert.ErrorContains(t, err, server.Address)
			assert.Len(t, strings.Split(err.Error(), "\n"), len(c.faults))
		})
	}
	server := servers.Redis(t, keeps...)
	replica, store := open(t, servers.Redis(t, keeps...).Address)
	follow(t, replica, server)
	assert.ErrorContains(t, store.Check(t.Context()), "read-only replica")
	client, _ := open(t, server.Address)
	assert.NoError(t, redisstore.New(client, redisstore.Options{Replicas: 1}).Check(t.Context()))
	server.Kill()
	ended, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	assert.ErrorContains(t, redisstore.New(client, redisstore.Options{}).Check(ended), "redisstore: ")
}

// With Options.Replicas, what was forgotten stays forgotten after a failover; and nobody is answered
// that it is while a replica has not heard of it, however often it is asked, and on whichever node.
func TestATombstoneWaitsForReplicas(t *testing.T) {
	server, other := servers.Redis(t), servers.Redis(t)
	replica, behind := open(t, other.Address)
	follow(t, replica, server)
	client, plain := open(t, server.Address)
	node := func() *redisstore.Store { return redisstore.New(client, redisstore.Options{Replicas: 1}) }
	store := node()

	r := record()
	require.NoError(t, store.Save(t.Context(), r, 0))
	gone := tombstone(r.ID)
	require.NoError(t, store.Save(t.Context(), gone, r.Version))
	got, err := behind.Load(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, gone, got, "it is there as soon as Save has returned")
	assert.ErrorIs(t, store.Save(t.Context(), tombstone(r.ID), r.Version), revisit.ErrConflict)
	value, err := client.Do(t.Context(), client.B().Get().Key("revisit:"+r.ID.String()).Build()).ToString()
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(value, "}"), "%q is confirmed", value)

	// A replica that is connected and does not answer has confirmed nothing.
	r = record()
	require.NoError(t, store.Save(t.Context(), r, 0))
	require.Eventually(t, func() bool { // it has confirmed all that came before
		text := info(t, client)
		return strings.Contains(text, ",offset="+offset(text, "master_repl_offset")+",")
	}, time.Minute, 20*time.Millisecond)
	other.Signal(syscall.SIGSTOP)
	err = store.Save(t.Context(), tombstone(r.ID), r.Version)
	other.Signal(syscall.SIGCONT)
	assert.ErrorContains(t, err, "0 of 1 replicas")
	got, err = store.Load(t.Context(), r.ID)
	require.NoError(t, err)
	assert.True(t, got.Forgotten)

	cutOff(t, replica)
	require.Eventually(t, func() bool { return strings.Contains(info(t, client), "connected_slaves:0") }, time.Minute, 20*time.Millisecond)
	r = record()
	require.NoError(t, store.Save(t.Context(), r, 0), "nothing else waits")
	gone = tombstone(r.ID)
	before := time.Now()
	assert.ErrorContains(t, store.Save(t.Context(), gone, r.Version), "0 of 1 replicas")
	assert.Less(t, time.Since(before), 10*time.Second)
	for _, s := range []*redisstore.Store{store, node()} {
		_, err = s.Load(t.Context(), r.ID)
		assert.ErrorContains(t, err, "0 of 1 replicas")
		_, err = s.LoadAll(t.Context(), []revisit.ID{r.ID})
		assert.ErrorContains(t, err, "0 of 1 replicas")
	}
	ended, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	before = time.Now()
	_, err = store.Load(ended, r.ID)
	assert.Error(t, err)
	assert.Less(t, time.Since(before), 5*time.Second, "no longer than the context")
	batch := []revisit.Change{{Record: record()}, {Record: tombstone(record().ID)}, {Record: record()}}
	errs := store.SaveAll(t.Context(), batch)
	assert.NoError(t, errs[0])
	assert.ErrorContains(t, errs[1], "0 of 1 replicas")
	assert.NoError(t, errs[2])
	got, err = plain.Load(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, gone, got, "who does not ask for replicas reads it")

	follow(t, replica, server)
	got, err = node().Load(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, gone, got)
	got, err = behind.Load(t.Context(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, gone, got)
	left, err := replica.Do(t.Context(), replica.B().Pexpiretime().Key("revisit:"+r.ID.String()).Build()).AsInt64()
	require.NoError(t, err)
	assert.Equal(t, gone.Expires.UnixMilli(), left, "it still expires")

	enginetest.Confirmed(t, store, behind, enginetest.Replica{
		CatchUp: func() { follow(t, replica, server) },
		Stall:   func() { cutOff(t, replica) },
		Promote: func() {
			server.Kill()
			do(t, replica, "REPLICAOF", "NO", "ONE")
		},
	})
}

// split reads at one server and writes to another, as clients that send reads to replicas do.
type split struct {
	*redisstore.Store // the primary
	reads             *redisstore.Store
}

func (s split) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	return s.reads.Load(ctx, id)
}

func TestAReplicaThatIsBehind(t *testing.T) {
	server, other := servers.Redis(t), servers.Redis(t)
	replica, old := open(t, other.Address)
	follow(t, replica, server)
	client, store := open(t, server.Address)
	enginetest.Behind(t, store, split{store, old}, old, enginetest.Replica{
		CatchUp: func() {
			n, err := client.Do(t.Context(), client.B().Wait().Numreplicas(1).Timeout(60_000).Build()).AsInt64()
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
			require.Eventually(t, func() bool {
				a, b := info(t, client), info(t, replica)
				return offset(a, "master_repl_offset") == offset(b, "slave_repl_offset")
			}, time.Minute, 20*time.Millisecond)
		},
		Stall: func() { cutOff(t, replica) },
		Promote: func() {
			server.Kill()
			do(t, replica, "REPLICAOF", "NO", "ONE")
		},
	})
}

func offset(info, name string) string {
	_, rest, _ := strings.Cut(info, name+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// A server that refuses writes, for one of the reasons that Redis has, costs no page view. It
// says that it is a replica in words that help.
func TestWritesAreRefused(t *testing.T) {
	server, other := servers.Redis(t), servers.Redis(t)
	client, store := open(t, server.Address)
	second, _ := open(t, other.Address)
	follow(t, second, server)
	t.Run("READONLY", func(t *testing.T) {
		enginetest.Outage(t, store, func() {
			do(t, second, "REPLICAOF", "NO", "ONE")
			follow(t, client, other)
			assert.ErrorContains(t, store.Save(t.Context(), record(), 0), "a replica now")
			assert.ErrorContains(t, store.SaveAll(t.Context(), []revisit.Change{{Record: record()}})[0], "a replica now")
		}, func() { do(t, client, "REPLICAOF", "NO", "ONE") }, 2*time.Second)
	})
	t.Run("OOM", func(t *testing.T) {
		enginetest.Outage(t, store, func() {
			do(t, client, "CONFIG", "SET", "maxmemory", "1")
			assert.ErrorContains(t, store.Save(t.Context(), record(), 0), "OOM")
		}, func() { do(t, client, "CONFIG", "SET", "maxmemory", "0") }, 2*time.Second)
	})
	t.Run("NOREPLICAS", func(t *testing.T) {
		enginetest.Outage(t, store, func() {
			do(t, client, "CONFIG", "SET", "min-replicas-to-write", "3")
			assert.ErrorContains(t, store.Save(t.Context(), record(), 0), "NOREPLICAS")
		}, func() { do(t, client, "CONFIG", "SET", "min-replicas-to-write", "0") }, 2*time.Second)
	})
}

// A server that has been started again answers LOADING until it has read its data.
func TestLoading(t *testing.T) {
	server := servers.Redis(t, "--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no", "--loading-process-events-interval-bytes", "1024", "--key-load-delay", "5000")
	client, store := open(t, server.Address)
	// It takes 5 ms for each command that it reads (a setting for tests of Redis itself), until it
	// is let go on.
	back := make(chan struct{})
	seen := make(chan string, 1)
	enginetest.Outage(t, store, func() {
		do(t, client, "EVAL", "for i = 1, 20000 do redis.call('SET', 'filler', i) end return 1", "0")
		server.Kill()
		go func() {
			defer close(back)
			server.Start(t)
		}()
		go func() {
			answer := make([]byte, 64)
			for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
				conn, err := net.Dial("tcp", server.Address)
				if err != nil {
					continue
				}
				_, _ = conn.Write([]byte("PING\r\n"))
				n, _ := conn.Read(answer)
				conn.Close()
				if text := string(answer[:n]); n > 0 {
					seen <- text
					return
				}
			}
			seen <- ""
		}()
	}, func() {
		conn, err := net.Dial("tcp", server.Address)
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.Write([]byte("CONFIG SET key-load-delay 0\r\n"))
		require.NoError(t, err)
		<-back
	}, 2*time.Second)
	assert.Contains(t, <-seen, "LOADING")
}

// Slots move from node to node while visitors come: MOVED and ASK are followed, and each change
// is counted once.
func TestAResharding(t *testing.T) {
	nodes, clients := cluster(t, 3)
	_, store := open(t, nodes[0].Address)
	ctx := t.Context()
	records := make([]revisit.Record, 20)
	for i := range records {
		records[i] = record()
		require.NoError(t, store.Save(ctx, records[i], 0))
	}
	var wg sync.WaitGroup
	var moved atomic.Bool
	var saved, failed [20]atomic.Int64
	for i := range records {
		wg.Go(func() {
			for n := 0; !moved.Load() || n < 50; n++ {
				have, err := store.Load(ctx, records[i].ID)
				if err != nil {
					failed[i].Add(1)
					continue
				}
				next := have
				next.Version, next.Hits = rand.Int64()>>1+1, have.Hits+1
				if i%2 == 0 {
					err = store.Save(ctx, next, have.Version)
				} else {
					err = store.SaveAll(ctx, []revisit.Change{{Record: next, Old: have.Version}})[0]
				}
				if again, lerr := store.Load(ctx, next.ID); err != nil && (lerr != nil || again.Version != next.Version) {
					failed[i].Add(1)
					continue
				}
				saved[i].Add(1)
			}
		})
	}
	ids := make([]string, len(clients))
	for i, c := range clients {
		id, err := c.Do(ctx, c.B().ClusterMyid().Build()).ToString()
		require.NoError(t, err)
		ids[i] = id
	}
	for round := range 2 {
		for _, r := range records {
			key := "revisit:" + r.ID.String()
			slot, err := clients[0].Do(ctx, clients[0].B().ClusterKeyslot().Key(key).Build()).AsInt64()
			require.NoError(t, err)
			from := slices.IndexFunc(clients, func(c rueidis.Client) bool {
				return !strings.HasPrefix(errorOf(c.Do(ctx, c.B().Get().Key(key).Build())), "MOVED")
			})
			require.GreaterOrEqual(t, from, 0)
			to := (from + 1 + round) % len(clients)
			name := strconv.FormatInt(slot, 10)
			host, port, _ := strings.Cut(nodes[to].Address, ":")
			do(t, clients[to], "CLUSTER", "SETSLOT", name, "IMPORTING", ids[from])
			do(t, clients[from], "CLUSTER", "SETSLOT", name, "MIGRATING", ids[to])
			time.Sleep(5 * time.Millisecond)
			do(t, clients[from], "MIGRATE", host, port, key, "0", "5000")
			time.Sleep(20 * time.Millisecond) // of ASK
			do(t, clients[to], "CLUSTER", "SETSLOT", name, "NODE", ids[to])
			do(t, clients[from], "CLUSTER", "SETSLOT", name, "NODE", ids[to])
		}
	}
	moved.Store(true)
	wg.Wait()
	lost := int64(0)
	for i, r := range records {
		require.Eventually(t, func() bool {
			have, err := store.Load(ctx, r.ID)
			return err == nil && have.Hits == saved[i].Load()
		}, time.Minute, 50*time.Millisecond, "record %d: %d were saved", i, saved[i].Load())
		assert.Positive(t, saved[i].Load())
		lost += failed[i].Load()
	}
	t.Logf("%d calls had an error", lost)
	var redirected string
	for _, c := range clients {
		text, err := c.Do(ctx, c.B().Info().Section("errorstats").Build()).ToString()
		require.NoError(t, err)
		redirected += text
	}
	assert.Contains(t, redirected, "errorstat_ASK")
	assert.Contains(t, redirected, "errorstat_MOVED")
	enginetest.Nodes(t, store)
}

func errorOf(r rueidis.RedisResult) string {
	if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
		return err.Error()
	}
	return ""
}
