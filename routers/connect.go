package main

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/revisit-go/revisit"
)

// connectRPC has procedures beside pages. A call is a POST: it never starts a session, and
// knows the visitor by the cookie that a page has set. One without side effects may be a
// GET, with a tag. The writer is not to be had, so nothing is hijacked.
func connectRPC(tracker *revisit.Tracker) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", serveMux(tracker))
	mux.Handle(visitorProcedure, tracker.Handler(connect.NewUnaryHandlerSimple(visitorProcedure,
		func(ctx context.Context, _ *emptypb.Empty) (*wrapperspb.StringValue, error) {
			s, ok := revisit.FromContext(ctx)
			if !ok {
				return nil, connect.NewError(connect.CodeNotFound, nil)
			}
			return wrapperspb.String(s.ID.String()), nil
		}, connect.WithIdempotency(connect.IdempotencyNoSideEffects))))
	mux.Handle(stockProcedure, tracker.Handler(connect.NewServerStreamHandlerSimple(stockProcedure,
		func(ctx context.Context, _ *emptypb.Empty, stream *connect.ServerStream[wrapperspb.StringValue]) error {
			if s, ok := revisit.FromContext(ctx); ok {
				stream.ResponseHeader().Set("X-Session-Id", s.ID.String())
			}
			if err := stream.Send(wrapperspb.String("in stock")); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})))
	return mux
}

const (
	visitorProcedure = "/shop.v1.Shop/Visitor"
	stockProcedure   = "/shop.v1.Shop/Stock"
)
