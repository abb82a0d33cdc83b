package e2e

import (
	"os"
	"testing"
)

// full is how many times more a long run repeats what is a matter of chance:
// REVISIT_FULL=1, as in make test-full.
var full = func() int {
	if os.Getenv("REVISIT_FULL") != "" {
		return 4
	}
	return 1
}()

// A browser is a real one, with a profile of its own in a temporary folder.
type browser interface {
	name() string // with its version
	// visit types an address and waits for the page.
	visit(t *testing.T, url string)
	// submit submits the form of the open page that has this action, by its
	// button of this value ("" for the first).
	submit(t *testing.T, action, value string)
	// follow clicks the link of the open page to this path.
	follow(t *testing.T, path string)
	reload(t *testing.T)
	hardReload(t *testing.T)
	// back goes back in the history to the page of this path.
	back(t *testing.T, path string)
	// run runs a script in the open page and returns what it returns, as JSON.
	run(t *testing.T, script string) string
	// allowScript lets pages run script, or not. It is so until it is called again.
	allowScript(t *testing.T, allowed bool)
	deleteCookies(t *testing.T)
	// blockCookies has the browser keep and send none from now on.
	blockCookies(t *testing.T)
	clearCache(t *testing.T)
	// restart ends the browser and starts it again with the same profile.
	restart(t *testing.T)
	// private opens a private window, in which everything happens until it is
	// closed by the function that is returned.
	private(t *testing.T) (closeWindow func())
}

// engines are the browsers there are to be. One that is missing fails the test:
// make deps installs them.
var engines = []struct {
	name string
	open func(*testing.T) browser
}{
	{"Chromium", openChromium},
	{"Firefox", openFirefox},
}
