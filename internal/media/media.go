// Package media tells pages, data and parts of pages apart by media type.
package media

import (
	"net/http"
	"strings"

	"github.com/revisit-go/revisit/internal/header"
)

// A Kind is what a response holds, as far as that matters to the carrier rule.
type Kind int8

const (
	Unknown Kind = iota
	Page         // a document
	Data         // for scripts and other programs
	Asset        // a part of pages: a style, script, image, font, sound, film
)

// Of looks at the Content-Type, and where there is none at the body, as net/http
// is about to do.
func Of(h http.Header, first []byte) Kind {
	kind := header.Value(h, "Content-Type")
	if kind == "" && len(first) > 0 {
		if _, given := h["Content-Type"]; !given && header.Value(h, "Content-Encoding") == "" {
			kind = http.DetectContentType(first)
			if strings.HasPrefix(kind, "text/plain") || kind == "application/octet-stream" {
				return Unknown // all that is not known by its first bytes
			}
		}
	}
	kind, _, _ = strings.Cut(kind, ";")
	major, minor, _ := strings.Cut(strings.ToLower(header.TrimSpace(kind)), "/")
	switch major {
	case "":
		return Unknown
	case "image", "font", "audio", "video":
		return Asset
	case "text":
		switch minor {
		case "css", "javascript", "ecmascript", "vtt":
			return Asset
		case "event-stream":
			return Data
		}
	case "application":
		switch minor {
		case "javascript", "x-javascript", "ecmascript", "manifest+json", "wasm", "vnd.ms-fontobject", "x-font-ttf", "x-font-woff", "font-woff",
			"vnd.apple.mpegurl", "x-mpegurl", "dash+xml":
			return Asset
		case "json", "x-ndjson", "grpc", "protobuf", "x-protobuf", "msgpack", "x-msgpack", "cbor":
			return Data
		}
		if strings.HasSuffix(minor, "+json") || strings.HasPrefix(minor, "grpc") {
			return Data
		}
	case "multipart":
		if minor == "byteranges" {
			return Unknown
		}
	}
	return Page
}
