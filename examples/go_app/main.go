// Program go_app is a shop that records OpenTelemetry with otelhttp, and exports OTLP over gRPC.
//
// A request to /buy/ITEM asks the stock service, by default this program itself, for /stock/ITEM.
// The item unicorn makes the stock service fail. telemetry.go sets OpenTelemetry up.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

var client = http.Client{Transport: otelhttp.NewTransport(http.DefaultTransport)}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	shutdown, err := setUpTelemetry(ctx)
	if err != nil {
		log.Fatal(err)
	}
	address := "127.0.0.1:" + variable("PORT", "8100")
	stockURL := variable("STOCK_URL", "http://"+address)
	routes := http.NewServeMux()
	routes.HandleFunc("GET /buy/{item}", answer(func(ctx context.Context, item string) error {
		return ask(ctx, stockURL+"/stock/"+item)
	}))
	routes.HandleFunc("GET /stock/{item}", answer(stock))
	server := http.Server{Addr: address, Handler: otelhttp.NewHandler(routes, "shop")}
	go func() {
		log.Print(server.ListenAndServe())
		stop() // the port is not free
	}()
	<-ctx.Done()
	deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = server.Shutdown(deadline)
	_ = shutdown(deadline)
}

// stock logs a warning, because the item is the last one, or returns an error for a unicorn.
func stock(ctx context.Context, item string) error {
	if item == "unicorn" {
		return errors.New("the stock database is away")
	}
	slog.WarnContext(ctx, fmt.Sprintf("only 1 %s left", item))
	return nil
}

// ask sends a GET request with the trace context of ctx, and returns an error unless it succeeds.
func ask(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("stock answered %d", response.StatusCode)
	}
	return nil
}

// answer returns a handler that records an error of do in span and log, and answers it with 500.
func answer(do func(context.Context, string) error) http.HandlerFunc {
	return func(response http.ResponseWriter, request *http.Request) {
		ctx := request.Context()
		if err := do(ctx, request.PathValue("item")); err != nil {
			span := trace.SpanFromContext(ctx)
			span.RecordError(err, trace.WithStackTrace(true))
			span.SetStatus(codes.Error, err.Error())
			slog.ErrorContext(ctx, err.Error())
			http.Error(response, "Internal Server Error", http.StatusInternalServerError)
		}
	}
}

func variable(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
