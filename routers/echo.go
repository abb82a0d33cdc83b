package main

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/revisit-go/revisit"
)

// echoRouter has the Tracker around the whole of echo, which writes the errors of its
// handlers behind its middlewares: one by echo.WrapMiddleware would have to decide what
// rides on a response before there is one.
func echoRouter(tracker *revisit.Tracker) http.Handler {
	e := echo.New()
	e.GET("/products/:id", func(c *echo.Context) error {
		product(c.Response(), c.Request(), c.Param("id"))
		return nil
	})
	e.GET("/events", echo.WrapHandler(http.HandlerFunc(events)))
	e.GET("/upgrade", echo.WrapHandler(http.HandlerFunc(upgrade)))
	e.GET("/gone", func(*echo.Context) error { return echo.NewHTTPError(http.StatusGone, "sold out for good") })
	e.Any("/revisit/*", echo.WrapHandler(tracker.Beacon()))
	return tracker.Handler(e)
}
