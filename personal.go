package revisit

import (
	"net/url"
	"strings"
)

// isPersonal reports whether a text has something of a person in it that is not to be
// kept: a mail address, a telephone number, or what looks like a credential, however often
// it was escaped. Links in letters have such things put into them by whoever sends those.
// It is a guess by form: a name is a word like any other.
func isPersonal(s string) bool {
	for range 4 {
		if hasAddress(s) || hasJWT(s) || hasToken(s) || hasNumber(s) {
			return true
		}
		again, err := url.PathUnescape(s)
		if err != nil || again == s {
			return false
		}
		s = again
	}
	return true // nobody escapes five times without something to hide
}

// hasAddress reports whether s has a mail address in it.
func hasAddress(s string) bool {
	for {
		i := strings.IndexAny(s, "@\uff20%") // the full-width one is one, too
		if i < 0 {
			return false
		}
		n := 1
		switch {
		case strings.HasPrefix(s[i:], "%40"):
			n = len("%40")
		case s[i] == '%':
			n = 0
		case s[i] != '@':
			n = len("\uff20")
		}
		if n > 0 && i > 0 && s[i-1] != '/' { // which would be somebody's page: /@name
			if host, _, _ := strings.Cut(s[i+n:], "/"); strings.Contains(strings.Trim(host, "."), ".") {
				return true
			}
		}
		s = s[i+max(n, 1):]
		if n == 0 {
			continue
		}
		s = "x" + s // something stands before the rest
	}
}

// hasJWT reports whether s has a JSON Web Token in it (RFC 7519), whose header begins so
// in base64url.
func hasJWT(s string) bool {
	for at := 0; ; {
		i := strings.Index(s[at:], "eyJ")
		if i < 0 {
			return false
		}
		if at += i; at == 0 || !isAlphanumeric(s[at-1]) {
			return true
		}
		at++
	}
}

// Where random characters end and a name in capitals and small letters begins is told by
// how often the kind of character changes: more than every second time in base64, once a
// word in a name.
const minToken = 22

// hasToken reports whether s has 32 and more hexadecimal digits in a row, a UUID, or as
// much of base64.
func hasToken(s string) bool {
	for len(s) > 0 {
		n := 0
		for n < len(s) && (isAlphanumeric(s[n]) || s[n] == '-') {
			n++
		}
		if looksRandom(s[:n]) {
			return true
		}
		s = s[min(n+1, len(s)):]
	}
	return false
}

// looksRandom looks at a run of letters, digits and hyphens.
func looksRandom(run string) bool {
	if isUUID(run) {
		return true
	}
	for part := range strings.SplitSeq(run, "-") {
		var lower, upper, digits, hex, changes int
		for i := range len(part) {
			c := part[i]
			switch {
			case '0' <= c && c <= '9':
				digits++
			case 'a' <= c && c <= 'z':
				lower++
			default:
				upper++
			}
			if c <= '9' || c|0x20 <= 'f' {
				hex++
			}
			if i > 0 && charKind(c) != charKind(part[i-1]) {
				changes++
			}
		}
		letters := lower + upper
		if hex == len(part) && len(part) >= 32 && letters > 0 && digits > 0 {
			return true
		}
		if len(part) >= minToken && lower > 0 && upper > 0 && digits > 0 && changes*20 >= len(part)*9 {
			return true
		}
	}
	return false
}

func charKind(c byte) int {
	switch {
	case c <= '9':
		return 0
	case c <= 'Z':
		return 1
	}
	return 2
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if hyphen := i == 8 || i == 13 || i == 18 || i == 23; hyphen != (s[i] == '-') || !hyphen && s[i] > '9' && s[i]|0x20 > 'f' {
			return false
		}
	}
	return true
}

// hasNumber reports whether a part of s between slashes is a telephone number: with + or 0
// before it, and 9 to 15 digits (ITU-T E.164) with what people put between.
func hasNumber(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		part = strings.TrimSpace(part)
		if part == "" || part[0] != '+' && part[0] != '0' {
			continue
		}
		digits, other := 0, false
		for _, c := range part[1:] {
			switch {
			case '0' <= c && c <= '9':
				digits++
			case !strings.ContainsRune(" -.()", c):
				other = true
			}
		}
		if part[0] == '0' {
			digits++
		}
		if !other && 9 <= digits && digits <= 15 {
			return true
		}
	}
	return false
}
