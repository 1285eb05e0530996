import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/**
 * Posts standard input as JSON to the URL of the first argument, and prints the status.
 *
 * <p>The HTTP client of the JDK offers an upgrade to HTTP/2 (h2c) with each first request.
 */
public final class Post {
    public static void main(String[] arguments) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
                .header("Content-Type", "application/json")
                .POST(BodyPublishers.ofByteArray(System.in.readAllBytes()))
                .build();
        System.out.println(HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).statusCode());
    }
}
