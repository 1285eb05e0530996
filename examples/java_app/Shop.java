import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.concurrent.Executors;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * A shop with server and client of the JDK, which knows nothing of OpenTelemetry: run it with
 * {@code -javaagent}.
 *
 * <p>A request to {@code /buy/ITEM} asks the stock service, by default this program itself, for
 * {@code /stock/ITEM}. The item {@code unicorn} makes the stock service throw an exception.
 */
public final class Shop {
    private static final Logger LOG = Logger.getLogger("shop");
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    public static void main(String[] arguments) throws IOException {
        int port = Integer.parseInt(System.getenv().getOrDefault("PORT", "8100"));
        String stockUrl = System.getenv().getOrDefault("STOCK_URL", "http://127.0.0.1:" + port);
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/buy/", orError(exchange -> {
            URI uri = URI.create(stockUrl + "/stock/" + item(exchange));
            int status = ask(HttpRequest.newBuilder(uri).build());
            if (status != 200) {
                throw new IllegalStateException("stock answered " + status);
            }
            exchange.sendResponseHeaders(200, -1);
        }));
        server.createContext("/stock/", orError(exchange -> {
            if (item(exchange).equals("unicorn")) {
                throw new IllegalStateException("the stock database is away");
            }
            LOG.warning("only 1 " + item(exchange) + " left");
            exchange.sendResponseHeaders(200, -1);
        }));
        server.start();
    }

    private static String item(HttpExchange exchange) {
        String path = exchange.getRequestURI().getPath();
        return path.substring(path.lastIndexOf('/') + 1);
    }

    private static int ask(HttpRequest request) throws IOException {
        try {
            return CLIENT.send(request, BodyHandlers.discarding()).statusCode();
        } catch (InterruptedException interrupted) {
            throw new IOException(interrupted);
        }
    }

    /** Answers with 500 if {@code handler} throws; the exception goes on to the server. */
    private static HttpHandler orError(HttpHandler handler) {
        return exchange -> {
            try {
                handler.handle(exchange);
            } catch (IllegalStateException error) {
                LOG.log(Level.SEVERE, error.getMessage(), error);
                exchange.sendResponseHeaders(500, -1);
                throw error;
            } finally {
                exchange.close();
            }
        };
    }
}
