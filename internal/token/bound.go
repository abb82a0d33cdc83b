package token

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"
	"time"
)

// A Bound token says which session a page belongs to. It goes out in a page and comes
// back by another way than a carrier: a link token with the request for the
// anchor (see Tracker.Beacon), a form token in a POST (see Field). On the
// wire it is 38 bytes in base64url without padding, 51 characters:
//
//	ID (16) | links used (2) | issued (4) | AES-CMAC (16)
//
// both numbers big-endian. The first 24 characters are the same for the same ID
// and links used, which is how the script knows a token that it has sent already. The
// MAC is made with the subkey of its purpose, "link" or "form". It speaks for the
// 22 bytes before it, and for the browser and the
// place that the page was asked from: what was handed out here is worth nothing
// elsewhere.
type Bound struct {
	ID        [16]byte
	LinksUsed uint16 // Record.LinksUsed of then: a link is used once. Of a form: 1 if it is good for forgetting only
	Issued    uint32 // in Unix seconds; 0 for one that is part of a page, which must not change all the time
}

const (
	// BoundLen is how long a bound token is.
	BoundLen = 51

	// LinkLife is how long a link token with a time is good for. The script
	// sends it back at once.
	LinkLife = 10 * time.Minute
)

// SealBound returns the token for a purpose, bound to a browser and a place.
func (k *Keyring) SealBound(purpose string, t Bound, to *Binding) string {
	b := to.append(t.append(make([]byte, 0, 512)))
	var mac [MACLen]byte
	k.subkeys(purpose)[0].sum(&mac, b)
	return tokenEncoding.EncodeToString(append(b[:boundPlain], mac[:]...))
}

const boundPlain = idLen + 2 + 4

func (t Bound) append(b []byte) []byte {
	b = append(b, t.ID[:]...)
	b = binary.BigEndian.AppendUint16(b, t.LinksUsed)
	return binary.BigEndian.AppendUint32(b, t.Issued)
}

// OpenBound returns what SealBound has sealed for this purpose and for the same browser
// and place. Everything else is not ok.
func (k *Keyring) OpenBound(purpose, text string, to *Binding) (t Bound, ok bool) {
	if len(text) != BoundLen {
		return Bound{}, false
	}
	raw, err := tokenEncoding.DecodeString(text)
	if err != nil || len(raw) != boundPlain+MACLen {
		return Bound{}, false
	}
	b := to.append(append(make([]byte, 0, 512), raw[:boundPlain]...))
	for _, key := range k.subkeys(purpose) {
		var mac [MACLen]byte
		key.sum(&mac, b)
		if subtle.ConstantTimeCompare(mac[:], raw[boundPlain:]) == 1 {
			copy(t.ID[:], raw)
			t.LinksUsed = binary.BigEndian.Uint16(raw[len(t.ID):])
			t.Issued = binary.BigEndian.Uint32(raw[len(t.ID)+2:])
			return t, true
		}
	}
	return Bound{}, false
}

// A Binding is the browser and the place that a token is bound to. Nothing of it is kept.
type Binding struct {
	Agent, Language string
	From            netip.Addr
}

func (to *Binding) append(b []byte) []byte {
	for _, value := range [...]string{to.Agent, to.Language} {
		value = value[:min(len(value), 1<<10)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	return append(b, addressKey(to.From)...)
}

// addressKey is the part of an address that stays while a browser loads a page:
// all of an IPv4 address, the network of an IPv6 one. A private address is that
// of a proxy more often than not, and a site may have several of those, so they
// are not distinguished.
func addressKey(addr netip.Addr) []byte {
	switch {
	case !addr.IsValid(), addr.IsPrivate():
		return nil
	case addr.Is4():
		return addr.AsSlice()
	default:
		return addr.AsSlice()[:8]
	}
}
