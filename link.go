package revisit

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// A ticket says which session a page belongs to. It goes out in a page and comes
// back by another way than a carrier: a link ticket with the request for the
// anchor (see [Tracker.Beacon]), a form ticket in a POST (see [Field]). On the
// wire it is 38 bytes in base64url without padding, 51 characters:
//
//	ID (16) | joins (2) | issued (4) | AES-CMAC (16)
//
// both numbers big-endian. The first 24 characters are the same for the same ID
// and joins, which is how the script knows a ticket that it has sent already. The
// MAC is made with the subkey of its purpose, "link" or "form". It speaks for the
// 22 bytes before it, and for the browser and the
// place that the page was asked from: what was handed out here is worth nothing
// elsewhere.
type ticket struct {
	id     ID
	joins  uint16 // Record.Joins of then: a link is honoured once. Of a form: 1 if it is good for forgetting only
	issued uint32 // in Unix seconds; 0 for one that is part of a page, which must not change all the time
}

const (
	viaLink = "link"
	viaForm = "form"

	ticketLen = 51

	// linkLife is how long a ticket with a time is worth anything. The script
	// sends it back at once.
	linkLife = 10 * time.Minute
)

var ticketEncoding = base64.RawURLEncoding.Strict()

// sealTicket returns the ticket for a purpose, bound to a browser and a place.
func (k *keyring) sealTicket(purpose string, t ticket, to *binding) string {
	b := to.append(t.append(make([]byte, 0, 512)))
	var mac [macLen]byte
	k.subkeys(purpose)[0].sum(&mac, b)
	return ticketEncoding.EncodeToString(append(b[:ticketPlain], mac[:]...))
}

const ticketPlain = len(ID{}) + 2 + 4

func (t ticket) append(b []byte) []byte {
	b = append(b, t.id[:]...)
	b = binary.BigEndian.AppendUint16(b, t.joins)
	return binary.BigEndian.AppendUint32(b, t.issued)
}

// openTicket returns what sealTicket has sealed for this purpose and for the same browser
// and place. Everything else is not ok.
func (k *keyring) openTicket(purpose, text string, to *binding) (t ticket, ok bool) {
	if len(text) != ticketLen {
		return ticket{}, false
	}
	raw, err := ticketEncoding.DecodeString(text)
	if err != nil || len(raw) != ticketPlain+macLen {
		return ticket{}, false
	}
	b := to.append(append(make([]byte, 0, 512), raw[:ticketPlain]...))
	for _, key := range k.subkeys(purpose) {
		var mac [macLen]byte
		key.sum(&mac, b)
		if subtle.ConstantTimeCompare(mac[:], raw[ticketPlain:]) == 1 {
			copy(t.id[:], raw)
			t.joins = binary.BigEndian.Uint16(raw[len(t.id):])
			t.issued = binary.BigEndian.Uint32(raw[len(t.id)+2:])
			return t, true
		}
	}
	return ticket{}, false
}

// A binding is the browser and the place that a ticket is bound to. Nothing of it is kept.
type binding struct {
	agent, language string
	from            netip.Addr
}

// bind reads what tickets are bound to. That is done before the handler runs, which may
// change the header: middleware sets the language, say.
func (v *Visit) bind() {
	if v.bound == nil {
		h := v.request.Header
		v.bound = &binding{agent: headerValue(h, "User-Agent"), language: headerValue(h, "Accept-Language"), from: v.bindingAddr()}
	}
}

func (to *binding) append(b []byte) []byte {
	for _, value := range [...]string{to.agent, to.language} {
		value = value[:min(len(value), 1<<10)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	return append(b, addressKey(to.from)...)
}

// addressKey is the part of an address that stays while a browser loads a page:
// all of an IPv4 address, the network of an IPv6 one. A private address is that
// of a proxy more often than not, and a site may have several of those, so they
// are not told apart.
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

// ticket returns one for the session of the visit.
func (v *Visit) ticket(purpose string, issued uint32) string {
	t := ticket{id: v.session.ID, issued: issued}
	switch {
	case purpose == viaLink:
		t.joins = uint16(v.session.Record().Joins)
	case v.weak:
		t.joins = 1 // or a form would make a token of what somebody looks like
	}
	v.bind()
	return v.tracker.keys.sealTicket(purpose, t, v.bound)
}

// openTicket returns what a ticket says. One of a session whose lifetime is over
// is none.
func (v *Visit) openTicket(purpose, text string) (t ticket, ok bool) {
	v.bind()
	t, ok = v.tracker.keys.openTicket(purpose, text, v.bound)
	switch {
	case !ok:
		v.tracker.stats.forged.Add(1)
	case v.now.Sub(t.id.Time()) >= v.tracker.lifetime:
		v.tracker.stats.expired.Add(1)
		ok = false
	}
	return t, ok
}

// isPortable reports whether the browser shows who it is on every URL, as with a
// cookie: then the page needs no ticket.
func (v *Visit) isPortable() bool {
	return slices.ContainsFunc(v.carriers, func(c carrier) bool {
		return c.id == v.session.ID && !c.stored && !c.old && !c.ambiguous
	})
}

// isStored reports whether the browser's stored response has the session's token.
func (v *Visit) isStored() bool {
	return slices.ContainsFunc(v.carriers, func(c carrier) bool { return c.id == v.session.ID && c.stored && !c.ambiguous })
}

// sendLink gives the page's script the link ticket, in a header field that page
// script can read: so the page itself stays the same for everybody, and a 304
// one. Measured: Chromium and Firefox show it to the script also on a 304, in
// secure contexts.
//
//	Server-Timing: rv;desc="<ticket>"
func (v *Visit) sendLink(h http.Header, status int) {
	if v.content == contentAsset || !v.linkable || status != http.StatusOK && status != http.StatusNotModified || !v.session.isSaved() || v.weak || v.isPortable() {
		return
	}
	c := cachingOf(h)
	if !c.carries() {
		return
	}
	if _, ours := parseTag(headerValue(h, "Etag")); status == http.StatusNotModified && !ours {
		return // a cache could have it for somebody else's page: see freshens
	}
	c.makePrivate(h)
	line := `rv;desc="` + v.ticket(viaLink, uint32(v.now.Unix())) + `"`
	h["Server-Timing"] = append(slices.Clip(h["Server-Timing"]), line)
}
