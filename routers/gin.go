package main

import (
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/revisit-go/revisit"
)

// ginRouter has the Tracker around the whole engine: gin's middlewares share one writer,
// and somebody else's would want an adapter. The handlers find the session in the request's
// context. One handler alone would be gin.WrapH(tracker.Handler(h)).
func ginRouter(tracker *revisit.Tracker) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.Recovery())
	e.GET("/products/:id", func(c *gin.Context) {
		product(c.Writer, c.Request, c.Param("id"))
	})
	e.GET("/events", gin.WrapF(events))
	e.GET("/stream", func(c *gin.Context) {
		visitor(c.Writer, c.Request)
		first := true
		c.Stream(func(w io.Writer) bool {
			if first {
				c.SSEvent("message", "in stock")
			} else {
				<-c.Request.Context().Done()
			}
			more := first
			first = false
			return more
		})
	})
	e.GET("/upgrade", gin.WrapF(upgrade))
	e.Any("/revisit/*path", gin.WrapH(tracker.Beacon()))
	return tracker.Handler(e)
}
