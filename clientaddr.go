package revisit

import (
	"net/http"
	"net/netip"

	"github.com/revisit-go/revisit/internal/clientip"
)

// Forwarded returns a [Config.ClientAddr] for a server behind proxies. The header
// field that they write is X-Forwarded-For, Forwarded (RFC 7239), or one of the
// proxy's own that holds an address, as X-Real-Ip.
//
// Each proxy appends the address that it has seen, and the client may have sent
// the field, too, with whatever it likes in it. So the list is read from its end:
// Request.RemoteAddr must be one of the proxies, the last entry is who spoke to that
// one, and so on until an address is none of the proxies. That is the client. What
// stands before it is the client's own word and is not looked at. Where the end
// of the list is no address, the client is unknown; a Forwarded by other than
// the last proxies ("unknown", "_hidden") is one such case. It is unknown, too, where all
// are proxies: one of them does not write the field, and all of its clients would be one.
//
//	ClientAddr: revisit.Forwarded("X-Forwarded-For", netip.MustParsePrefix("10.0.0.0/8")),
//
// List only what is yours. Name the one field that all of your proxies write: one
// that they pass on as it came says what the client likes.
func Forwarded(field string, proxies ...netip.Prefix) func(*http.Request) netip.Addr {
	return clientip.Forwarded(field, proxies...)
}

// ClientAddr returns the address of the client: see [Config.ClientAddr]. Without that
// it is not valid where a proxy's might be: for requests from private and loopback
// addresses, and with a field that proxies write; with it, for requests from such
// addresses that have such a field all the same. What comes from a proxy at a public
// address that says nothing of itself cannot be distinguished from a client.
func (v *Visit) ClientAddr() netip.Addr {
	addr, t := v.bindingAddr(), v.tracker
	why := clientip.MayBeProxy(v.request, addr, t.clientAddr != nil)
	if why == "" {
		return addr
	}
	if times, ok := t.stats.proxied.Now(); ok {
		t.logger.Warn("revisit: requests come from what may be a proxy, so nobody is recognised by their address: see Config.ClientAddr", "why", why, "times", times)
	}
	return netip.Addr{}
}

// bindingAddr is the address that link and form tokens are bound to: a proxy's, if need be.
func (v *Visit) bindingAddr() netip.Addr {
	if v.tracker.clientAddr != nil {
		return v.tracker.clientAddr(v.request).Unmap().WithZone("")
	}
	return clientip.Remote(v.request)
}
