// Package header reads fields of a header that net/http has parsed.
package header

import "net/http"

// Value is Header.Get for a name that is canonical already.
func Value(h http.Header, name string) string {
	if lines := h[name]; len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// TrimSpace cuts optional white space off (OWS of RFC 9110, section 5.6.3).
func TrimSpace(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
