package e2e

import (
	"bytes"
	"encoding/json"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bodyOf asks the shop for a page, as nobody in particular.
func bodyOf(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

// textOf returns the string that a script in the page returns.
func textOf(t *testing.T, b browser, script string) (text string) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(b.run(t, script)), &text))
	return text
}

// A customer clicks a campaign's link, looks around, deletes the cookies, comes back,
// and buys: the dashboard has the order under the campaign, once.
func TestTheDashboardShowsWhoHasEarnedTheOrder(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			b := engine.open(t)
			shop := startShop(t, "-consent", "granted", "-strategy", "hybrid")
			b.visit(t, shop+"/")
			b.follow(t, "/?utm_source=newsletter&utm_medium=mail&utm_campaign=spring")
			b.follow(t, "/product/teapot")
			b.submit(t, "/cart", "")
			b.deleteCookies(t)
			b.visit(t, shop+"/product/teapot")
			b.submit(t, "/cart", "") // the cart was a cookie, too
			b.follow(t, "/checkout")
			b.submit(t, "/checkout", "")
			require.Contains(t, textOf(t, b, `return document.body.innerText`), "4900 cents")
			b.submit(t, "/pay", "")
			page := textOf(t, b, `return document.body.innerText`)
			require.Contains(t, page, "is paid")
			order := textOf(t, b, `return document.getElementById("order").textContent`)
			b.reload(t)
			b.visit(t, shop+"/dashboard")
			assert.Equal(t, "3", textOf(t, b, `return document.documentElement.dataset.charts || ""`), "the charts are drawn")
			board := bodyOf(t, shop+"/dashboard")
			assert.Equal(t, 1, strings.Count(board, order))
			assert.Regexp(t, `<th scope="row">newsletter / spring</th><td class="number">1</td><td class="number wide-only">0</td><td class="number">1.0</td><td class="number">€ 49.00</td>`, board)
			assert.Equal(t, 2, strings.Count(board, "€ 49.00</td>"), "the campaign's and the order's")
		})
	}
}

// The dashboard is looked at, on a desk and on a telephone, by day and by night:
// nothing is cut off, nothing is empty. With REVISIT_SCREENSHOTS=1 the pictures of the
// documentation are renewed.
func TestTheDashboardIsLookedAt(t *testing.T) {
	c := openChromium(t).(*chromium)
	shop := startShop(t, "-seed-days", "30")
	for begin := time.Now(); strings.Contains(bodyOf(t, shop+"/dashboard"), "is being written"); time.Sleep(100 * time.Millisecond) {
		require.Less(t, time.Since(begin), patience)
	}
	for _, size := range []struct {
		name          string
		width, height int64
		scheme        string
	}{
		{"dashboard-desktop", 1280, 900, "light"},
		{"dashboard-phone", 390, 844, "light"},
		{"dashboard-desktop-dark", 1280, 900, "dark"},
		{"dashboard-phone-dark", 390, 844, "dark"},
	} {
		c.do(t, chromedp.EmulateViewport(size.width, size.height),
			command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: size.scheme}}}))
		c.visit(t, shop+"/dashboard")
		assert.Equal(t, "3", textOf(t, c, `return document.documentElement.dataset.charts || ""`), size.name)
		assert.Equal(t, "0", textOf(t, c, `return String(document.documentElement.scrollWidth - document.documentElement.clientWidth)`), "%s: nothing sticks out", size.name)
		assert.Equal(t, "0", textOf(t, c, `return String(Math.max(...[...document.querySelectorAll(".scroll, .scroll table")].map(e => e.scrollWidth - e.clientWidth)))`), "%s: no table is cut off", size.name)
		assert.Equal(t, "", textOf(t, c, `return performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith(location.origin) && !n.startsWith("data:")).join(" ")`), "nothing comes from elsewhere")
		assert.Equal(t, "", textOf(t, c, `return [...document.querySelectorAll("canvas")].filter(e => !e.getAttribute("aria-label")).map(e => e.id).join(" ")`))
		var shot []byte
		c.wait(t, func() (err error) {
			shot, err = chromedp.Run(c.ctx, chromedp.FullScreenshot(100))
			return err
		})
		picture, err := png.Decode(bytes.NewReader(shot))
		require.NoError(t, err)
		colours := make(map[color.Color]bool)
		for x := 0; x < picture.Bounds().Dx(); x += 3 {
			for y := 0; y < picture.Bounds().Dy(); y += 3 {
				colours[picture.At(x, y)] = true
			}
		}
		assert.Greater(t, len(colours), 20, "%s is all one colour", size.name)
		r, _, _, _ := picture.At(1, picture.Bounds().Dy()/2).RGBA()
		assert.Equal(t, size.scheme == "dark", r < 0x8000, "%s: the paper", size.name)
		if os.Getenv("REVISIT_SCREENSHOTS") != "" && !strings.HasSuffix(size.name, "phone-dark") && !strings.HasSuffix(size.name, "desktop-dark") {
			require.NoError(t, os.WriteFile("../docs/images/"+size.name+".png", shot, 0o644))
		}
	}
}
