// Package uuid makes the identifiers of sessions (UUIDv7: the time of birth, then random
// bits) and of what is stored beside them (UUIDv8, derived from a hash). RFC 9562.
package uuid

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// New returns a UUIDv7 born at t (RFC 9562, section 5.7).
func New(t time.Time) (id [16]byte) {
	rand.Read(id[6:]) // never fails: crypto/rand.Read
	ms := uint64(t.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	id[6] = id[6]&0x0f | 0x70 // version 7
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id
}

// Derive makes a UUIDv8 of the first 16 bytes of a hash (RFC 9562, section 5.8).
func Derive(sum []byte) [16]byte {
	id := [16]byte(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IsDerived reports whether Derive has made the ID, so that it names no session.
func IsDerived(id [16]byte) bool { return id[6]>>4 == 8 }

// Millis returns the time of birth of a UUIDv7, in Unix milliseconds.
func Millis(id [16]byte) int64 { return int64(binary.BigEndian.Uint64(id[0:]) >> 16) }

// Older reports whether a was born before b. Ties of one millisecond are broken by the
// random bits, the same way on every node.
func Older(a, b [16]byte) bool { return string(a[:]) < string(b[:]) }

// Format returns the usual form, 36 characters.
func Format(id [16]byte) string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// Parse reads what Format writes. Anything else is not ok.
func Parse(s string) (id [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return [16]byte{}, false
	}
	digits := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return [16]byte{}, false
	}
	return id, true
}
