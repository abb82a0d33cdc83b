package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The shop by tags alone: a new profile opens the front page, three products and
// the front page again, and is one visitor on all of them.
func TestTheShopKnowsOneVisitorByTagsAlone(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			shop := startShop(t, "-strategy", "etag", "-consent", "granted")
			for _, script := range []bool{true, false} {
				b.allowScript(t, script)
				w := watch(t, shop, fmt.Sprintf("script-%v.localhost", script))
				paths := []string{"/", "/product/mug", "/product/lamp", "/product/clock"}
				open := func(path string) string {
					t.Helper()
					before := w.count(anchor)
					b.visit(t, w.url+path)
					w.until(t, anchor, before+1)
					return w.last(path).id
				}
				first := open("/")
				require.NotEmpty(t, first)
				for _, path := range paths[1:] {
					open(path)
				}
				assert.Equal(t, first, open("/"), "script %v", script)
				for _, path := range paths {
					assert.Equal(t, first, open(path), "script %v, %s", script, path)
				}
				if script {
					open("/known") // whose own first view is reported to the anchor
					b.visit(t, w.url+"/known")
					page := b.run(t, `return document.querySelector("main").innerText`)
					assert.Contains(t, page, first)
					assert.Contains(t, page, "turned out to be yours")
				}
			}
		})
	}
}

// Cookies blocked altogether, and the lead form reaches its session, which is
// that of the campaign's page.
func TestTheShopTakesALeadWithoutCookies(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			b.blockCookies(t)
			for _, strategy := range []string{"etag", "hybrid"} {
				w := watch(t, startShop(t, "-strategy", strategy, "-consent", "granted"), strategy+"-cookieless.localhost")
				b.visit(t, w.url+"/?utm_source=mail&utm_campaign=spring")
				w.until(t, anchor, 1)
				b.visit(t, w.url+"/contact")
				w.until(t, anchor, 2)
				b.run(t, `document.querySelector("#mail").value = "ann@example.com"; return 0`)
				b.submit(t, "/contact", "")
				last := w.last("/contact")
				assert.Equal(t, w.last("/").id, last.id, strategy)
				assert.Equal(t, "form", last.via, strategy)
				assert.Empty(t, last.cookies)
				assert.Contains(t, b.run(t, `return document.querySelector("main").innerText`), "spring")
			}
		})
	}
}

// The tour counts its steps, and the page that is a file its readers.
func TestTheShopCountsWhatIsNotWrapped(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			w := watch(t, startShop(t, "-consent", "granted"), "unwrapped.localhost")
			b.visit(t, w.url+"/tour")
			before := w.count(anchor)
			for i, step := range []string{"etag", "anchor", "no"} {
				b.run(t, fmt.Sprintf(`document.querySelector("a[data-step=%s]").click(); return 0`, step))
				w.until(t, anchor, before+i+1)
				assert.Equal(t, `"/tour/`+step+`"`, b.run(t, `return location.pathname`))
				assert.NotEmpty(t, strings.Trim(b.run(t, fmt.Sprintf(`return document.querySelector("#step-%s").innerText`, step)), `"`))
			}
			b.visit(t, w.url+"/about")
			w.until(t, anchor, before+4)
			b.visit(t, w.url+"/")
			assert.Equal(t, "6", w.last("/").hits)
		})
	}
}
