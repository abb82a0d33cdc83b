package revisit

import (
	"net/http"

	"github.com/revisit-go/revisit/internal/bot"
	"github.com/revisit-go/revisit/internal/header"
)

// IsBot is the default of [Config.Bot]. It reports whether the User-Agent names a
// crawler, a previewer of links, a feed reader, a monitor or another robot. It
// does not report HTTP clients (curl, Wget, Go-http-client), headless browsers, or robots
// that call themselves a browser.
//
// It looks for the words that robots have in their names, for an address to look
// them up or to write to, and for "(compatible;" in the place where browsers have
// their platform. Which words count depends on what sent the User-Agent: a program, a
// browser on a computer, or a telephone, whose model and apps may be called anything.
// In doubt it is a person. docs/fingerprint.md says how well that works on public lists.
func IsBot(r *http.Request) bool { return bot.Is(header.Value(r.Header, "User-Agent")) }
