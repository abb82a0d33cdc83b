package revisit

import (
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
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
	field = textproto.CanonicalMIMEHeaderKey(field)
	parse := parseHop
	if field == "Forwarded" {
		parse = parseForwarded
	}
	proxies = slices.Clone(proxies)
	for i, p := range proxies {
		if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 { // addresses are compared as IPv4
			proxies[i] = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
		}
	}
	return func(r *http.Request) netip.Addr {
		addr := remoteAddr(r)
		lines := r.Header[field]
		for line, text := len(lines), ""; contains(proxies, addr); {
			for trimSpace(text) == "" {
				if line == 0 {
					return netip.Addr{}
				}
				line--
				text = lines[line]
			}
			var member string
			text, member = cutLast(text)
			if addr = parse(trimSpace(member)); !addr.IsValid() {
				return addr
			}
		}
		return addr
	}
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// remoteAddr is the default of Config.ClientAddr.
func remoteAddr(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap().WithZone("")
}

// cutLast cuts the last member of a comma-separated list off. What stands in a
// quoted string of Forwarded is never of use here, so one with a comma in it may
// be cut in two: neither half is an address.
func cutLast(list string) (rest, last string) {
	i := strings.LastIndexByte(list, ',')
	return list[:max(i, 0)], list[i+1:]
}

// parseHop reads an address, alone or with a port as some proxies write it.
func parseHop(s string) netip.Addr {
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

// parseForwarded reads the for parameter of a member of Forwarded. One that has it
// twice says nothing.
func parseForwarded(member string) (addr netip.Addr) {
	seen := false
	for member != "" {
		var pair string
		pair, member, _ = strings.Cut(member, ";")
		name, value, _ := strings.Cut(trimSpace(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if seen {
			return netip.Addr{}
		}
		seen = true
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		addr = parseHop(value)
	}
	return addr
}

// forwardingFields are what proxies write. Any of them on a request, with no
// Config.ClientAddr, says that the address may be a proxy's.
var forwardingFields = [...]string{
	"Forwarded", "Via", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
	"X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Envoy-External-Address",
}

// ClientAddr returns the address of the client: see [Config.ClientAddr]. Without that
// it is not valid where a proxy's might be: for requests from private and loopback
// addresses, and with a field that proxies write; with it, for requests from such
// addresses that have such a field all the same. What comes from a proxy at a public
// address that says nothing of itself cannot be told from a client.
func (v *Visit) ClientAddr() netip.Addr {
	addr, t := v.bindingAddr(), v.tracker
	near := addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()
	why := ""
	if near && t.clientAddr == nil {
		why = "from a private address"
	}
	// Config.ClientAddr may have forgotten one that is near.
	if t.clientAddr == nil || near && addr == remoteAddr(v.request) {
		for _, name := range forwardingFields {
			if _, ok := v.request.Header[name]; ok {
				why = "with " + name
			}
		}
	}
	if why == "" {
		return addr
	}
	if times, ok := t.stats.proxied.now(); ok {
		t.logger.Warn("revisit: requests come from what may be a proxy, so nobody is recognised by their address: see Config.ClientAddr", "why", why, "times", times)
	}
	return netip.Addr{}
}

// bindingAddr is the address that a ticket is bound to: a proxy's, if need be.
func (v *Visit) bindingAddr() netip.Addr {
	if v.tracker.clientAddr != nil {
		return v.tracker.clientAddr(v.request).Unmap().WithZone("")
	}
	return remoteAddr(v.request)
}
