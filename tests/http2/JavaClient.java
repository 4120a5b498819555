// The HTTP client of Java's library: java JavaClient.java PLAIN_PORT TLS_PORT CERTIFICATE. One line a check, `name: ok` or what was wrong.

import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class JavaClient {
    public static void main(String[] args) throws Exception {
        String plain = "http://127.0.0.1:" + args[0];
        String tls = "https://127.0.0.1:" + args[1];
        HttpClient client = HttpClient.newBuilder().sslContext(trusting(Path.of(args[2]))).build();

        HttpResponse<String> get = client.send(to(tls, "/").build(), BodyHandlers.ofString());
        check("get", List.of(get.version(), get.statusCode(), get.body()), List.of(Version.HTTP_2, 200, "ok"));
        // Its window is sixteen times smaller than this reply.
        HttpResponse<byte[]> large = client.send(to(tls, "/large").build(), BodyHandlers.ofByteArray());
        check("large", large.body().length, 1 << 20);
        byte[] body = new byte[3 << 20];
        HttpRequest post = to(tls, "/echo").POST(BodyPublishers.ofByteArray(body)).build();
        check("post", client.send(post, BodyHandlers.ofByteArray()).body().length, body.length);
        // A body of unknown length, which the backend gets in chunks.
        HttpRequest chunks = to(tls, "/echo").POST(BodyPublishers.ofInputStream(() -> InputStream.nullInputStream())).build();
        check("empty_body_of_unknown_length", client.send(chunks, BodyHandlers.ofString()).statusCode(), 200);
        HttpResponse<Void> head = client.send(to(tls, "/large").method("HEAD", BodyPublishers.noBody()).build(), BodyHandlers.discarding());
        check("head", head.headers().firstValue("content-length").orElse(""), "1048576");

        List<CompletableFuture<HttpResponse<String>>> many = IntStream.range(0, 80)
            .mapToObj(number -> client.sendAsync(to(tls, "/" + number).header("x-number", "" + number).build(), BodyHandlers.ofString()))
            .toList();
        boolean all = true;
        for (int number = 0; number < many.size(); number++) {
            HttpResponse<String> reply = many.get(number).get();
            String seen = reply.headers().firstValue("x-seen").orElse("");
            all &= reply.statusCode() == 200 && seen.toLowerCase().contains("x-number: " + number + "|");
        }
        check("many", all, true);

        CompletableFuture<HttpResponse<String>> left = client.sendAsync(to(tls, "/never").build(), BodyHandlers.ofString());
        left.cancel(true);
        check("goes_on_after_a_reset", client.send(to(tls, "/").build(), BodyHandlers.ofString()).statusCode(), 200);

        // On plain connections it offers `Upgrade: h2c`, which servers may leave alone (RFC 9113 §3.1).
        HttpResponse<String> upgrade = client.send(to(plain, "/").build(), BodyHandlers.ofString());
        check("upgrade_is_left_alone", List.of(upgrade.version(), upgrade.statusCode(), upgrade.body()), List.of(Version.HTTP_1_1, 200, "ok"));
        check("end", "", "");
    }

    static HttpRequest.Builder to(String base, String path) {
        return HttpRequest.newBuilder(URI.create(base + path));
    }

    static void check(String name, Object got, Object want) {
        System.out.println(name + ": " + (Objects.equals(got, want) ? "ok" : got + ", want " + want));
    }

    static SSLContext trusting(Path certificate) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = Files.newInputStream(certificate)) {
            store.setCertificateEntry("proxy", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
