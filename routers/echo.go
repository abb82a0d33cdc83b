package main

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/revisit-go/revisit"
)

// echoRouter has the Tracker as a middleware, by echo's own adapter.
func echoRouter(tracker *revisit.Tracker) http.Handler {
	e := echo.New()
	e.Use(echo.WrapMiddleware(tracker.Handler))
	e.GET("/products/:id", func(c *echo.Context) error {
		product(c.Response(), c.Request(), c.Param("id"))
		return nil
	})
	e.GET("/events", echo.WrapHandler(http.HandlerFunc(events)))
	e.GET("/upgrade", echo.WrapHandler(http.HandlerFunc(upgrade)))
	e.Any("/revisit/*", echo.WrapHandler(tracker.Beacon()))
	return e
}
