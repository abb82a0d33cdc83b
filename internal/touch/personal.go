package touch

import (
	"strings"
)

// maxPersonal is how much of a text is looked at: no more than a quarter of it is kept.
const maxPersonal = 4 * maxTouchText

// isPersonal reports whether a text has something of a person in it that is not to be
// kept: a mail address, a telephone number, or what looks like a credential, however often
// it was escaped. Links in letters have such things put into them by whoever sends those.
// It is a guess by form: a name is a word like any other.
func isPersonal(s string) bool {
	s = s[:min(len(s), maxPersonal)]
	for range 4 {
		if hasAddress(s) || hasJWT(s) || hasToken(s) || hasNumber(s) || hasPersonalName(s) {
			return true
		}
		again := unescapeOnce(s)
		if again == s {
			return false
		}
		s = again
	}
	return true // nobody escapes five times without something to hide
}

// unescapeOnce takes one layer of escapes off, and leaves a percent sign that is none.
func unescapeOnce(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c, ok := escaped(s[i:]); ok {
			b = append(b, c)
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// hasAddress reports whether s has a mail address in it: something, an at sign, and a host
// with a dot within.
func hasAddress(s string) bool {
	for i := 0; i < len(s); {
		n := atSign(s[i:])
		if n == 0 {
			i++
			continue
		}
		named := i > 0 && s[i-1] != '/' // which would be somebody's page: /@name
		i += n
		begin := i
		for i < len(s) && s[i] != '/' && atSign(s[i:]) == 0 {
			i++
		}
		if named && strings.Contains(strings.Trim(s[begin:i], "."), ".") {
			return true
		}
	}
	return false
}

// atSign returns how long the at sign is that s begins with, 0 for none. The full-width one
// is one, too.
func atSign(s string) int {
	for _, sign := range [...]string{"@", "%40", "\uff20"} {
		if strings.HasPrefix(s, sign) {
			return len(sign)
		}
	}
	return 0
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

// Where random characters end and a name in capitals and small letters begins is recognised by
// how often the kind of character changes: more than every second time in base64, once a
// word in a name.
const minToken = 22

// hasToken reports whether s has 32 and more hexadecimal digits in a row, a UUID, or as
// much of base64, in either alphabet, as far as that can be distinguished from a name.
func hasToken(s string) bool {
	for len(s) > 0 {
		n := 0
		for n < len(s) && (isAlphanumeric(s[n]) || s[n] == '-' || s[n] == '_') {
			n++
		}
		if looksRandom(s[:n]) {
			return true
		}
		s = s[min(n+1, len(s)):]
	}
	return false
}

// looksRandom looks at a run of letters, digits, hyphens and underscores.
func looksRandom(run string) bool {
	var whole chars
	parts := 0
	for i := 0; i < len(run); {
		if run[i] == '-' || run[i] == '_' {
			if i >= 8 && i+28 <= len(run) && isUUID(run[i-8:i+28]) {
				return true
			}
			i++
			continue
		}
		part := partOf(run[i:])
		if part.looksRandom() {
			return true
		}
		whole.add(part)
		parts++
		i += part.n
	}
	// The URL's alphabet has the hyphen and the underscore, now and then: parts are long
	// then, and what is in them changes more often than in a list of short names.
	return whole.n >= 8*parts && len(run) >= minToken && whole.n >= minToken-2 && whole.mixed() && whole.changes*2 > whole.n-parts
}

// chars counts what kinds of characters there are.
type chars struct {
	n, lower, upper, digits, hex int

	changes int // of the kind, from one to the next
}

// partOf counts the letters and digits that s begins with.
func partOf(s string) (c chars) {
	for ; c.n < len(s) && isAlphanumeric(s[c.n]); c.n++ {
		b := s[c.n]
		switch charKind(b) {
		case 0:
			c.digits++
		case 1:
			c.upper++
		default:
			c.lower++
		}
		if b <= '9' || b|0x20 <= 'f' {
			c.hex++
		}
		if c.n > 0 && charKind(b) != charKind(s[c.n-1]) {
			c.changes++
		}
	}
	return c
}

func (c *chars) add(d chars) {
	c.n, c.lower, c.upper, c.digits, c.changes = c.n+d.n, c.lower+d.lower, c.upper+d.upper, c.digits+d.digits, c.changes+d.changes
}

func (c *chars) mixed() bool { return c.lower > 0 && c.upper > 0 && c.digits > 0 }

func (c *chars) looksRandom() bool {
	return c.hex == c.n && c.n >= 32 && c.digits > 0 && c.digits < c.n ||
		c.n >= minToken && c.mixed() && c.changes*20 >= c.n*9
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
// before it, and 9 to 15 digits (ITU-T E.164) with what people put between. Numbers of
// products are none.
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
			case !strings.ContainsRune(" -.()+", c):
				other = true
			}
		}
		if part[0] == '0' {
			digits++
		}
		if !other && 9 <= digits && digits <= 15 && !isProduct(part) {
			return true
		}
	}
	return false
}

// isProduct reports whether a number that begins with 0 is one that products are named by,
// as pages and feeds of shops have it: a GTIN of 12 digits (UPC-A), 13 (EAN) or 14, or an
// ISBN-10, with the right check digit, in one piece or printed in four groups, as in
// 0-306-40615-2 and 0 36000 29145 2. One of ten telephone numbers that have as many digits
// looks the same, but for those that begin with an international prefix (00) and a country
// code where GTINs have numbers that only the shop itself knows (GS1's prefixes 2, 4 and 5).
// No telephone number begins with 000, after which a country code would begin with 0.
func isProduct(s string) bool {
	if strings.HasPrefix(s, "000") {
		return true
	}
	var digits [14]byte
	n, groups := 0, 1
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			if n == len(digits) {
				return false
			}
			digits[n] = c - '0'
			n++
		case c == '-' || c == ' ':
			groups++
		default:
			return false
		}
	}
	if groups != 1 && (groups != 4 || isDigit(s[1]) || isDigit(s[len(s)-2])) {
		return false // 0 and a check digit stand alone
	}
	switch {
	case n == 14 && strings.HasPrefix(s, "00") && (s[2] == '2' || s[2] == '4' || s[2] == '5'):
		return false
	case n == 10:
		sum := 0
		for i, d := range digits[:n] {
			sum += (10 - i) * int(d)
		}
		return sum%11 == 0
	case n >= 12:
		sum := 0
		for i, d := range digits[:n] {
			sum += int(d) * (1 + 2*((n-i+1)%2))
		}
		return sum%10 == 0
	}
	return false
}

// hasPersonalName reports whether s has a piece of a query in it that names somebody, as
// mc_eid=....
func hasPersonalName(s string) bool {
	for end := 0; ; {
		n := strings.IndexByte(s[end:], '=')
		if n < 0 {
			return false
		}
		end += n
		begin := end
		for begin > 0 && end-begin < maxName && (isAlphanumeric(s[begin-1]) || s[begin-1] == '_') {
			begin--
		}
		if params[strings.ToLower(s[begin:end])] == paramPersonal {
			return true
		}
		end++
	}
}

// withoutPersonal returns an escaped path with an asterisk in the place of each segment that
// has something of a person in it, "/" if that does not help: what is personal is not to
// cost a shop the pages of its products.
func withoutPersonal(path string) (clean string, personal bool) {
	if !isPersonal(path) {
		return path, false
	}
	if len(path) > maxPersonal { // more is not looked at; half a segment would hide what it is
		path = path[:strings.LastIndexByte(path[:maxPersonal], '/')+1]
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if isPersonal(s) {
			segments[i] = "*"
		}
	}
	if clean = strings.Join(segments, "/"); clean == "" || isPersonal(clean) {
		return "/", true
	}
	return clean, true
}
