package revisit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// An ID names a session. It has the layout of a UUIDv7 (RFC 9562, section
// 5.7): 48 bits of Unix milliseconds, the time of its birth, then random bits.
// IDs therefore sort by age, and the bytewise smaller one is the older one.
//
// An ID is no secret: what a client presents is a token, an ID with a MAC.
// The zero ID names no session.
type ID [16]byte

// newID returns a fresh ID, born at t.
func newID(t time.Time) ID {
	var id ID
	rand.Read(id[6:]) // never fails: crypto/rand.Read
	ms := uint64(t.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	id[6] = id[6]&0x0f | 0x70 // version 7
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id
}

// String returns the ID in the usual form of a UUID, 36 characters.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// ParseID reads what [ID.String] wrote. Anything else is an error, and no ID.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("revisit: %q is not an ID", s)
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ID{}, fmt.Errorf("revisit: %q is not an ID", s)
	}
	return id, nil
}

// Time returns the time of birth that the ID carries, in UTC, to the
// millisecond.
func (id ID) Time() time.Time {
	return fromMilli(id.milli())
}

// milli is Time in Unix milliseconds.
func (id ID) milli() int64 { return int64(binary.BigEndian.Uint64(id[0:]) >> 16) }

// IsZero reports whether the ID names no session.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText returns the form of [ID.String].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the form of [ID.String].
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// derived reports whether the ID was made from something else, as of what a client
// looks like (UUIDv8): then it names no session.
func (id ID) derived() bool { return id[6]>>4 == 8 }

// older reports whether id was born before other. Ties of one millisecond are
// broken by the random bits, the same way on every node.
func (id ID) older(other ID) bool { return string(id[:]) < string(other[:]) }

// A token is the ID and its AES-CMAC, 32 bytes in base64url without padding:
//
//	AZq1pnUAcBGiM0RVZneImZdAnv1B7GxC3BWLV1xamw8
const (
	macLen   = aes.BlockSize
	tokenLen = 43
)

// tokenEncoding rejects spare bits that are not zero, so that a token has one
// spelling only.
var tokenEncoding = base64.RawURLEncoding.Strict()

// A keyring seals IDs into tokens and opens them. Each purpose (the name of a
// strategy) has a subkey of its own: a token that was lifted from a tag is
// worth nothing as a cookie.
type keyring struct {
	secrets [][]byte

	mu       sync.Mutex // for writers of purposes
	purposes atomic.Pointer[map[string][]*cmac]
}

// scratch is where tokens are worked on. It lives in the Visit: what goes
// through the cipher.Block interface would be allocated otherwise.
type scratch struct {
	raw  [len(ID{}) + macLen]byte
	text [tokenLen]byte
}

// mac is room for a MAC, where the text was or will be.
func (s *scratch) mac() *[macLen]byte { return (*[macLen]byte)(s.text[:]) }

func newKeyring(secrets [][]byte) *keyring {
	k := &keyring{}
	for _, s := range secrets {
		k.secrets = append(k.secrets, append([]byte(nil), s...))
	}
	k.purposes.Store(&map[string][]*cmac{})
	return k
}

// subkeys returns the keys of a purpose, the one that signs first.
func (k *keyring) subkeys(purpose string) []*cmac {
	if keys, ok := (*k.purposes.Load())[purpose]; ok {
		return keys
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make([]*cmac, 0, len(k.secrets))
	for _, secret := range k.secrets {
		// A fault here would be one of the constants: New has checked the keys.
		key, err := hkdf.Key(sha256.New, secret, nil, "revisit v1 token "+purpose, aes.BlockSize)
		if err != nil {
			panic("revisit: HKDF: " + err.Error())
		}
		keys = append(keys, newCMAC(key))
	}
	known := maps.Clone(*k.purposes.Load())
	known[purpose] = keys
	k.purposes.Store(&known)
	return keys
}

// seal returns the token of id for a purpose.
func (k *keyring) seal(s *scratch, purpose string, id ID) string {
	copy(s.raw[:], id[:])
	k.subkeys(purpose)[0].sum(s.mac(), s.raw[:len(id)])
	copy(s.raw[len(id):], s.mac()[:])
	tokenEncoding.Encode(s.text[:], s.raw[:])
	return string(s.text[:])
}

// open returns the ID in a token. ok is false for everything that seal did not
// make for this purpose with one of the keys; old is true if it was made with
// a key that no longer signs.
func (k *keyring) open(s *scratch, purpose, token string) (id ID, old, ok bool) {
	if len(token) != tokenLen {
		return ID{}, false, false
	}
	copy(s.text[:], token)
	// Decode skips line breaks, so the length of the result decides too.
	n, err := tokenEncoding.Decode(s.raw[:], s.text[:])
	if err != nil || n != len(s.raw) {
		return ID{}, false, false
	}
	for i, key := range k.subkeys(purpose) {
		key.sum(s.mac(), s.raw[:len(id)])
		if subtle.ConstantTimeCompare(s.mac()[:], s.raw[len(id):]) == 1 {
			copy(id[:], s.raw[:])
			return id, i > 0, true
		}
	}
	return ID{}, false, false
}

// minKeyLen is the shortest key that New accepts, in bytes.
const minKeyLen = 32

func checkKeys(keys [][]byte) error {
	var errs []error
	for i, key := range keys {
		if len(key) < minKeyLen {
			errs = append(errs, fmt.Errorf("revisit: Config.Keys[%d] has %d bytes, want %d or more", i, len(key), minKeyLen))
		}
	}
	return errors.Join(errs...)
}

// cmac is AES-CMAC (NIST SP 800-38B, RFC 4493).
type cmac struct {
	block  cipher.Block
	k1, k2 [aes.BlockSize]byte
}

// newCMAC takes a key of 16, 24 or 32 bytes.
func newCMAC(key []byte) *cmac {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("revisit: " + err.Error())
	}
	c := &cmac{block: block}
	var l [aes.BlockSize]byte
	block.Encrypt(l[:], l[:])
	c.k1 = double(l)
	c.k2 = double(c.k1)
	return c
}

// double multiplies by x in GF(2^128), as RFC 4493, section 2.3 has it.
func double(in [aes.BlockSize]byte) (out [aes.BlockSize]byte) {
	var carry byte
	for i := len(in) - 1; i >= 0; i-- {
		out[i] = in[i]<<1 | carry
		carry = in[i] >> 7
	}
	out[len(out)-1] ^= carry * 0x87
	return out
}

// sum sets mac to the MAC of msg.
func (c *cmac) sum(mac *[macLen]byte, msg []byte) {
	*mac = [macLen]byte{}
	for len(msg) > aes.BlockSize {
		subtle.XORBytes(mac[:], mac[:], msg[:aes.BlockSize])
		c.block.Encrypt(mac[:], mac[:])
		msg = msg[aes.BlockSize:]
	}
	last := &c.k1
	if len(msg) < aes.BlockSize {
		last = &c.k2
		mac[len(msg)] ^= 0x80
	}
	subtle.XORBytes(mac[:], mac[:], last[:])
	subtle.XORBytes(mac[:], mac[:], msg)
	c.block.Encrypt(mac[:], mac[:])
}
