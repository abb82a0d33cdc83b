package redisstore_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
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
	"github.com/revisit-go/revisit/storetest"
)

func open(t testing.TB, address string) (rueidis.Client, *redisstore.Store) {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client, redisstore.New(client, redisstore.Options{})
}

func TestMain(m *testing.M) {
	enginetest.Serve(func(address string) (revisit.Store, error) {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true})
		if err != nil {
			return nil, err
		}
		return redisstore.New(client, redisstore.Options{}), nil
	})
	os.Exit(m.Run())
}

// The process is killed in the middle of its flushes.
func TestKilled(t *testing.T) {
	server := servers.Redis(t)
	_, store := open(t, server.Address)
	enginetest.Killed(t, store, server.Address, enginetest.Times(2))
}

func TestTheContract(t *testing.T) {
	server := servers.Redis(t)
	_, store := open(t, server.Address)
	storetest.Run(t, func(*testing.T) revisit.Store { return store })
}

// The wire format: what is in people's databases stays readable.
func TestGolden(t *testing.T) {
	server := servers.Redis(t)
	client, store := open(t, server.Address)
	id, err := revisit.ParseID("01890a5d-ac96-774b-bcce-b302099a8057")
	require.NoError(t, err)
	r := revisit.Record{ID: id, Version: -2, Created: id.Time(), Expires: id.Time().AddDate(20, 0, 0), Visits: 1, Hits: 1, Via: "etag"}
	require.NoError(t, store.Save(t.Context(), r, 0))
	value, err := client.Do(t.Context(), client.B().Get().Key("revisit:01890a5d-ac96-774b-bcce-b302099a8057").Build()).ToString()
	require.NoError(t, err)
	assert.Equal(t, `fffffffffffffffe{"c":1688096058518,"e":2319248058518,"n":1,"i":1,"w":"etag"}`, value)
	left, err := client.Do(t.Context(), client.B().Pexpiretime().Key("revisit:01890a5d-ac96-774b-bcce-b302099a8057").Build()).AsInt64()
	require.NoError(t, err)
	assert.Equal(t, r.Expires.UnixMilli(), left, "the engine expires it")

	require.NoError(t, client.Do(t.Context(), client.B().Set().Key("revisit:01890a5d-ac96-774b-bcce-b302099a8057").Value("x").Build()).Error())
	_, err = store.Load(t.Context(), id)
	assert.ErrorContains(t, err, "not one of ours")
}

// The set of a session's aliases: what is in people's databases stays readable.
func TestTheSetOfAliases(t *testing.T) {
	client, store := open(t, servers.Redis(t).Address)
	ctx := t.Context()
	ask := func(words ...string) rueidis.RedisResult {
		return client.Do(ctx, client.B().Arbitrary(words...).Build())
	}
	number := func(words ...string) int64 {
		n, err := ask(words...).AsInt64()
		require.NoError(t, err)
		return n
	}
	root, err := revisit.ParseID("01890a5d-ac96-774b-bcce-b302099a8057")
	require.NoError(t, err)
	const key = "revisit:aliases:01890a5d-ac96-774b-bcce-b302099a8057"
	alias := record()
	require.NoError(t, alias.ID.UnmarshalText([]byte("01890a5e-2b44-7d60-a1a3-5f8be4b0c1d2")))
	require.NoError(t, store.Save(ctx, alias, 0))
	assert.Zero(t, number("EXISTS", key), "what is no alias has no set")

	old := alias.Version
	alias.MergedInto, alias.Version = root, old+1
	require.NoError(t, store.Save(ctx, alias, old))
	members, err := ask("SMEMBERS", key).AsStrSlice()
	require.NoError(t, err)
	assert.Equal(t, []string{"01890a5e-2b44-7d60-a1a3-5f8be4b0c1d2"}, members)
	assert.Equal(t, "set", must(ask("TYPE", key).ToString()))
	assert.Equal(t, alias.Expires.UnixMilli(), number("PEXPIRETIME", key), "it lasts as long as the alias")

	// One that ends before does not shorten it, one that lasts longer has it last.
	short, long, derived := record(), record(), record()
	short.Expires, long.Expires = alias.Expires.Add(-time.Minute), alias.Expires.Add(time.Minute)
	derived.ID[6] = derived.ID[6]&0x0f | 0x80
	short.MergedInto, long.MergedInto, derived.MergedInto = root, root, root
	require.NoError(t, store.Save(ctx, short, 0))
	assert.Equal(t, alias.Expires.UnixMilli(), number("PEXPIRETIME", key))
	require.NoError(t, errors.Join(store.SaveAll(ctx, []revisit.Change{{Record: long}})...))
	assert.Equal(t, long.Expires.UnixMilli(), number("PEXPIRETIME", key))
	require.NoError(t, store.Save(ctx, derived, 0))
	assert.EqualValues(t, 3, number("SCARD", key), "what is kept of a fingerprint is not in it")

	// The node was killed between the two writes: what is no alias is not taken for one.
	session, absent := record(), record()
	require.NoError(t, store.Save(ctx, session, 0))
	require.NoError(t, ask("SADD", key, session.ID.String(), absent.ID.String()).Error())
	ids, err := store.Aliases(ctx, root)
	require.NoError(t, err)
	assert.ElementsMatch(t, []revisit.ID{alias.ID, short.ID, long.ID}, ids)

	// It is no session, nor in the way of those.
	n := 0
	for r, err := range store.Sessions(ctx) {
		require.NoError(t, err)
		assert.Equal(t, session.ID, r.ID)
		n++
	}
	assert.Equal(t, 1, n)

	require.NoError(t, ask("SADD", key, "x").Error())
	_, err = store.Aliases(ctx, root)
	assert.ErrorContains(t, err, "the aliases of "+root.String())
}

// An alias that cannot be found is not saved.
func TestAnAliasIsIndexedFirst(t *testing.T) {
	client, store := open(t, servers.Redis(t).Address)
	ctx := t.Context()
	alias, other, session := record(), record(), record()
	alias.MergedInto = record().ID
	other.MergedInto = alias.MergedInto
	do(t, client, "SET", "revisit:aliases:"+alias.MergedInto.String(), "no set")
	assert.ErrorContains(t, store.Save(ctx, alias, 0), "WRONGTYPE")
	errs := store.SaveAll(ctx, []revisit.Change{{Record: other}, {Record: session}})
	assert.ErrorContains(t, errs[0], "WRONGTYPE")
	assert.NoError(t, errs[1], "it costs the others nothing")
	for _, id := range []revisit.ID{alias.ID, other.ID} {
		_, err := store.Load(ctx, id)
		assert.ErrorIs(t, err, revisit.ErrNotFound)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestNodes(t *testing.T) {
	_, store := open(t, servers.Redis(t).Address)
	enginetest.Nodes(t, store)
	enginetest.Merges(t, store)
}

// Redis is killed while visitors come, and started again with what it had written
// down; and it is paused.
func TestOutage(t *testing.T) {
	server := servers.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	_, store := open(t, server.Address)
	t.Run("killed", func(t *testing.T) {
		enginetest.Outage(t, store, server.Kill, func() { server.Start(t) }, 2*time.Second)
	})
	t.Run("paused", func(t *testing.T) {
		enginetest.Outage(t, store, func() { server.Signal(syscall.SIGSTOP) }, func() { server.Signal(syscall.SIGCONT) }, 10*time.Second)
	})
}

func TestManySessionsAndASoak(t *testing.T) {
	_, store := open(t, servers.Redis(t).Address)
	enginetest.Many(t, store)
	enginetest.Soak(t, store)
}

// cluster starts a cluster, and returns its nodes with a client of each one alone.
func cluster(t *testing.T, n int) (nodes []*servers.Server, clients []rueidis.Client) {
	t.Helper()
	for range n {
		node := servers.Redis(t, "--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{node.Address}, DisableCache: true, ForceSingleClient: true})
		require.NoError(t, err)
		t.Cleanup(client.Close)
		nodes, clients = append(nodes, node), append(clients, client)
	}
	ctx := t.Context()
	each := 16384/n + 1
	for i, c := range clients {
		from, to := int64(i*each), int64(min(16383, (i+1)*each-1))
		require.NoError(t, c.Do(ctx, c.B().ClusterAddslotsrange().StartSlotEndSlot().StartSlotEndSlot(from, to).Build()).Error())
		host, port, _ := strings.Cut(nodes[i].Address, ":")
		number, err := strconv.ParseInt(port, 10, 64)
		require.NoError(t, err)
		require.NoError(t, clients[0].Do(ctx, clients[0].B().ClusterMeet().Ip(host).Port(number).Build()).Error())
	}
	for i, c := range clients {
		require.Eventually(t, func() bool {
			info, err := c.Do(ctx, c.B().ClusterInfo().Build()).ToString()
			return err == nil && strings.Contains(info, "cluster_state:ok") && // which comes last, and by node
				strings.Contains(info, "cluster_slots_ok:16384") && strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(n))
		}, time.Minute, 50*time.Millisecond, "node %d", i)
	}
	return nodes, clients
}

// Each session is on the node of its key.
func TestACluster(t *testing.T) {
	nodes, clients := cluster(t, 3)
	client, store := open(t, nodes[0].Address)
	storetest.Run(t, func(*testing.T) revisit.Store { return store })
	r := record()
	require.NoError(t, store.Save(t.Context(), r, 0))
	alone := redisstore.New(client, redisstore.Options{Replicas: 1})
	assert.ErrorContains(t, alone.Save(t.Context(), tombstone(r.ID), r.Version), "0 of 1 replicas")
	assert.Len(t, strings.Split(alone.Check(t.Context()).Error(), "\n"), 2*len(nodes), "each node is asked")
	for i, c := range clients {
		n, err := c.Do(t.Context(), c.B().Dbsize().Build()).AsInt64()
		require.NoError(t, err)
		assert.Positive(t, n, "node %d has some of the sessions", i)
	}
}
