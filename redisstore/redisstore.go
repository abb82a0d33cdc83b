// Package redisstore keeps sessions in Redis 7, Valkey, or a cluster of either.
//
//	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{"127.0.0.1:6379"}, DisableCache: true})
//	store := redisstore.New(client, redisstore.Options{})
//	tracker, err := revisit.New(revisit.Config{Store: store, FlushEvery: 10 * time.Second, ...})
//
// The client is github.com/redis/rueidis, because it combines the commands of many
// goroutines into one write by itself: with 16 goroutines it did 162,000 SETs a second
// where go-redis did 98,000 (measured, November 2026).
//
// A session is one key with one value, which the engine expires. Each Save is one
// script on that key, in one round trip, so no operation needs several keys on one
// node. A session that absorbed others has a set of their IDs beside it; saving such
// an alias takes one more round trip first.
//
// # Redis settings
//
// Redis loses data that it has not written to disk. Without appendonly, a restart loses
// sessions and, worse, the tombstones of forgotten visitors. Redis must not evict keys
// either: set maxmemory-policy to noeviction, or a tombstone may be evicted and a forgotten
// visitor may come back. [Store.Check] detects both.
//
// Replication is asynchronous. If a replica takes over that has not received a tombstone,
// the forgotten session is back, although Forget has returned nil. With [Options.Replicas],
// each tombstone waits for replicas.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/internal/encoding"
)

// Options are the options of a Store. The zero value is a good default.
type Options struct {
	// Prefix is what the keys begin with. Default "revisit:".
	Prefix string

	// Replicas is how many replicas must have a tombstone, the record of a forgotten
	// session, before Save returns nil (by the command WAIT), and so Tracker.Forget. If so
	// many do not confirm it within a second or within the context, Save and every Load of
	// that session return an error until they do, and Tracker.Forget is to be called again.
	// Set it to the number of replicas that may take over; nothing but tombstones waits for
	// them. Default 0: what was forgotten in the last moments before a failover may come back.
	Replicas int
}

// A Store implements revisit.Store, Batcher, Lister and Indexer.
type Store struct {
	client   rueidis.Client
	prefix   string
	replicas int
}

var (
	_ revisit.Batcher = (*Store)(nil)
	_ revisit.Lister  = (*Store)(nil)
	_ revisit.Indexer = (*Store)(nil)
)

// New returns a store that uses the client, which stays the caller's to close.
func New(client rueidis.Client, options Options) *Store {
	if options.Prefix == "" {
		options.Prefix = "revisit:"
	}
	return &Store{client: client, prefix: options.Prefix, replicas: options.Replicas}
}

// Check asks each server whether it keeps what it is given, and returns all that is wrong:
// it may evict (maxmemory with a policy other than noeviction), writes nothing down
// (appendonly is off), is a read-only replica, is loading its data, has fewer replicas than
// Options.Replicas, or is older than Redis 7. Call it at the start. It uses the command INFO.
func (s *Store) Check(ctx context.Context) error {
	var faults []error
	for address, node := range s.client.Nodes() {
		text, err := node.Do(ctx, node.B().Info().Build()).ToString()
		if err != nil {
			faults = append(faults, fmt.Errorf("redisstore: %s: %w", address, err))
			continue
		}
		for _, fault := range s.faults(text) {
			faults = append(faults, fmt.Errorf("redisstore: %s: %s", address, fault))
		}
	}
	return errors.Join(faults...)
}

// faults returns what is wrong with a server by its INFO.
// https://redis.io/docs/latest/commands/info/
func (s *Store) faults(text string) (faults []string) {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		info[name] = value
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(info[name]) // 0 where it is not reported
		return n
	}
	major, _, _ := strings.Cut(info["redis_version"], ".")
	if v, err := strconv.Atoi(major); err == nil && v < 7 {
		faults = append(faults, "Redis "+info["redis_version"]+" is too old; 7 is needed")
	}
	if policy := info["maxmemory_policy"]; policy != "noeviction" && number("maxmemory") != 0 {
		faults = append(faults, "maxmemory-policy is "+policy+": forgotten visitors may come back; set it to noeviction")
	}
	if info["aof_enabled"] == "0" {
		faults = append(faults, "appendonly is off: a restart loses sessions, and forgotten visitors may come back")
	}
	if number("loading") != 0 {
		faults = append(faults, "it is loading its data, and answers nothing meanwhile")
	}
	switch {
	case info["role"] == "slave" && number("cluster_enabled") == 0:
		faults = append(faults, "this is a read-only replica; connect to the primary, or by Sentinel")
	case info["role"] == "master" && number("connected_slaves") < s.replicas:
		faults = append(faults, fmt.Sprintf("it has %d replicas, Options.Replicas is %d: nobody could be forgotten", number("connected_slaves"), s.replicas))
	}
	return faults
}

// A value is the version in 16 hexadecimal digits, then the record as
// internal/encoding writes it:
//
//	revisit:01890a5d-ac96-774b-bcce-b302099a8057 = 00000000000004d2{"c":1700000000000,…}
//
// A tombstone that is not known to be on Options.Replicas yet ends with a line feed.
const (
	versionLen  = 16
	unconfirmed = "\n"
)

func version(v int64) string {
	s := strconv.FormatUint(uint64(v), 16)
	return "0000000000000000"[:versionLen-len(s)] + s
}

// save compares the version and puts the value in place. The engine has expired
// what is to count as absent.
const script = `
if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1`

var save = rueidis.NewLuaScript(script)

// replaceScript replaces a value that is still there. That is a write, which WAIT then
// waits for, also where the value stays the same.
const replaceScript = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1`

// indexScript puts an alias into the set of its root, which lasts as long as the last alias
// does.
const indexScript = `
redis.call('SADD', KEYS[1], ARGV[1])
if redis.call('PEXPIREAT', KEYS[1], ARGV[2], 'NX') == 0 then redis.call('PEXPIREAT', KEYS[1], ARGV[2], 'GT') end
return 1`

func (s *Store) key(id revisit.ID) string { return s.prefix + id.String() }

// aliasesKey is where the IDs of what was merged into a session are:
//
//	revisit:aliases:01890a5d-ac96-774b-bcce-b302099a8057 = {"01890a5e-2b44-7d60-a1a3-5f8be4b0c1d2", …}
//
// An ID is put in before its record is saved, and stays though the record may become another
// one's alias or none: the record tells.
func (s *Store) aliasesKey(root revisit.ID) string { return s.prefix + "aliases:" + root.String() }

// index returns the command that has an alias be found, and false for what is none.
func (s *Store) index(r *revisit.Record) (rueidis.Completed, bool) {
	if r.MergedInto.IsZero() || !(&revisit.Record{ID: r.ID}).IsSession() { // what is kept of fingerprints leads to sessions as well
		return rueidis.Completed{}, false
	}
	return s.client.B().Eval().Script(indexScript).Numkeys(1).Key(s.aliasesKey(r.MergedInto)).
		Arg(r.ID.String(), strconv.FormatInt(r.Expires.UnixMilli(), 10)).Build(), true
}

// Load implements revisit.Store.
func (s *Store) Load(ctx context.Context, id revisit.ID) (revisit.Record, error) {
	if err := ctx.Err(); err != nil {
		return revisit.Record{}, err
	}
	value, err := s.client.Do(ctx, s.client.B().Get().Key(s.key(id)).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		return revisit.Record{}, revisit.ErrNotFound
	}
	if err != nil {
		return revisit.Record{}, failed(err)
	}
	return s.read(ctx, id, value)
}

// read returns the record of a value. A tombstone that may be lost yet is confirmed first:
// whoever reads it takes the session for forgotten for good.
func (s *Store) read(ctx context.Context, id revisit.ID, value string) (revisit.Record, error) {
	if s.replicas > 0 && strings.HasSuffix(value, unconfirmed) {
		if err := s.confirm(ctx, id, value); err != nil {
			return revisit.Record{}, err
		}
	}
	return decode(id, value)
}

// confirm waits until so many replicas as is asked for have a tombstone, and then takes its
// mark away.
func (s *Store) confirm(ctx context.Context, id revisit.ID, value string) error {
	patience := time.Second
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end)*9/10) // the rest is for the way
	}
	milli := patience.Milliseconds()
	if milli <= 0 { // which would be for ever
		return context.DeadlineExceeded
	}
	// WAIT waits for the writes of its own connection.
	return s.client.Dedicated(func(c rueidis.DedicatedClient) error {
		replace := func(with string) error {
			return c.Do(ctx, c.B().Eval().Script(replaceScript).Numkeys(1).Key(s.key(id)).Arg(value, with).Build()).Error()
		}
		if err := replace(value); err != nil {
			return failed(err)
		}
		switch n, err := c.Do(ctx, c.B().Wait().Numreplicas(int64(s.replicas)).Timeout(milli).Build()).AsInt64(); {
		case err != nil:
			return failed(err)
		case n < int64(s.replicas):
			return fmt.Errorf("redisstore: %d of %d replicas have the tombstone of %v: try again", n, s.replicas, id)
		}
		_ = replace(strings.TrimSuffix(value, unconfirmed)) // else it is confirmed once more
		return nil
	})
}

// failed is the error of a command, with what it means here, where that is not plain.
func failed(err error) error {
	if e, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(e.Error(), "READONLY") {
		return fmt.Errorf("redisstore: this server is a replica now; connect by Sentinel or as a cluster, or set ConnLifetime, to follow a failover: %w", err)
	}
	return fmt.Errorf("redisstore: %w", err)
}

func decode(id revisit.ID, value string) (revisit.Record, error) {
	if len(value) < versionLen {
		return revisit.Record{}, fmt.Errorf("redisstore: the value of %v is not one of ours", id)
	}
	v, err := strconv.ParseUint(value[:versionLen], 16, 64)
	if err != nil {
		return revisit.Record{}, fmt.Errorf("redisstore: the value of %v: %w", id, err)
	}
	r, err := encoding.Decode([]byte(value[versionLen:]), id, int64(v))
	if err != nil {
		return revisit.Record{}, fmt.Errorf("redisstore: the value of %v: %w", id, err)
	}
	return r, nil
}

// Save implements revisit.Store.
func (s *Store) Save(ctx context.Context, r revisit.Record, old int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	call, err := s.call(&r, old)
	if err != nil {
		return err
	}
	if command, ok := s.index(&r); ok {
		if err := s.client.Do(ctx, command).Error(); err != nil {
			return failed(err)
		}
	}
	err = answer(save.Exec(ctx, s.client, call.Keys, call.Args))
	if err == nil && s.waits(&r) {
		return s.confirm(ctx, r.ID, call.Args[1])
	}
	return err
}

// waits reports whether a record has to be on replicas.
func (s *Store) waits(r *revisit.Record) bool { return s.replicas > 0 && r.Forgotten }

func (s *Store) call(r *revisit.Record, old int64) (rueidis.LuaExec, error) {
	text, err := encoding.Encode(r)
	if err != nil {
		return rueidis.LuaExec{}, fmt.Errorf("redisstore: %w", err)
	}
	value := version(r.Version) + string(text)
	if s.waits(r) {
		value += unconfirmed
	}
	before := ""
	if old != 0 {
		before = version(old)
	}
	return rueidis.LuaExec{
		Keys: []string{s.key(r.ID)},
		Args: []string{before, value, strconv.FormatInt(r.Expires.UnixMilli(), 10)},
	}, nil
}

func answer(result rueidis.RedisResult) error {
	n, err := result.AsInt64()
	switch {
	case err != nil:
		return failed(err)
	case n == 0:
		return revisit.ErrConflict
	}
	return nil
}

// LoadAll implements revisit.Batcher.
func (s *Store) LoadAll(ctx context.Context, ids []revisit.ID) ([]revisit.Record, error) {
	if len(ids) == 0 {
		return nil, ctx.Err()
	}
	commands := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		commands[i] = s.client.B().Get().Key(s.key(id)).Build()
	}
	all := make([]revisit.Record, 0, len(ids))
	for i, result := range s.client.DoMulti(ctx, commands...) {
		value, err := result.ToString()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return nil, failed(err)
		}
		r, err := s.read(ctx, ids[i], value)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// SaveAll implements revisit.Batcher: the scripts go out together, each with its
// text, so that a node which is away costs no other one its part.
func (s *Store) SaveAll(ctx context.Context, changes []revisit.Change) []error {
	errs := s.indexAll(ctx, changes)
	commands := make(rueidis.Commands, 0, len(changes))
	at := make([]int, 0, len(changes))
	for i := range changes {
		if errs[i] != nil {
			continue
		}
		if s.waits(&changes[i].Record) {
			errs[i] = s.Save(ctx, changes[i].Record, changes[i].Old)
			continue
		}
		call, err := s.call(&changes[i].Record, changes[i].Old)
		if err != nil {
			errs[i] = err
			continue
		}
		command := s.client.B().Eval().Script(script).Numkeys(1).Key(call.Keys...).Arg(call.Args...).Build()
		commands, at = append(commands, command), append(at, i)
	}
	if len(commands) == 0 {
		return errs
	}
	for i, result := range s.client.DoMulti(ctx, commands...) {
		errs[at[i]] = answer(result)
	}
	return errs
}

// indexAll has those of the changes be found that are aliases, before they are saved.
func (s *Store) indexAll(ctx context.Context, changes []revisit.Change) []error {
	errs := make([]error, len(changes))
	var commands rueidis.Commands
	var at []int
	for i := range changes {
		if command, ok := s.index(&changes[i].Record); ok {
			commands, at = append(commands, command), append(at, i)
		}
	}
	if len(commands) == 0 {
		return errs
	}
	for i, result := range s.client.DoMulti(ctx, commands...) {
		if err := result.Error(); err != nil {
			errs[at[i]] = failed(err)
		}
	}
	return errs
}

// Aliases implements revisit.Indexer.
func (s *Store) Aliases(ctx context.Context, root revisit.ID) ([]revisit.ID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	members, err := s.client.Do(ctx, s.client.B().Smembers().Key(s.aliasesKey(root)).Build()).AsStrSlice()
	if err != nil {
		return nil, failed(err)
	}
	ids := make([]revisit.ID, len(members))
	for i, text := range members {
		if ids[i], err = revisit.ParseID(text); err != nil {
			return nil, fmt.Errorf("redisstore: the aliases of %v: %w", root, err)
		}
	}
	records, err := s.LoadAll(ctx, ids)
	if err != nil {
		return nil, err
	}
	var aliases []revisit.ID
	for _, r := range records {
		if r.MergedInto == root {
			aliases = append(aliases, r.ID)
		}
	}
	return aliases, nil
}

// Sessions implements revisit.Lister. It scans the keys of each node, 500 at a
// time. A session that a resharding moves meanwhile may be left out.
func (s *Store) Sessions(ctx context.Context) iter.Seq2[revisit.Record, error] {
	return func(yield func(revisit.Record, error) bool) {
		seen := make(map[revisit.ID]bool) // a scan may return a key twice
		for _, node := range s.client.Nodes() {
			for cursor := uint64(0); ; {
				entry, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern.Replace(s.prefix)+"*").Count(500).Build()).AsScanEntry()
				if err != nil {
					if isReplica(err) {
						break
					}
					yield(revisit.Record{}, failed(err))
					return
				}
				var ids []revisit.ID
				for _, key := range entry.Elements {
					if id, err := revisit.ParseID(strings.TrimPrefix(key, s.prefix)); err == nil && !seen[id] {
						seen[id] = true
						ids = append(ids, id)
					}
				}
				page, err := s.LoadAll(ctx, ids)
				if err != nil {
					yield(revisit.Record{}, err)
					return
				}
				for _, r := range page {
					if r.IsSession() && !yield(r, nil) {
						return
					}
				}
				if cursor = entry.Cursor; cursor == 0 {
					break
				}
			}
		}
	}
}

// pattern has a prefix stand for itself in a pattern of Redis.
var pattern = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// isReplica tells a node that has nothing of its own to say.
func isReplica(err error) bool {
	var e *rueidis.RedisError
	if errors.As(err, &e) {
		_, moved := e.IsMoved()
		return moved
	}
	return false
}
