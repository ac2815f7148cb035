// celery-java as a worker and as a producer (one request a line on stdin, one answer a line on stdout, both JSON).
// It knows RabbitMQ alone, and results over it alone; its workers name a task «class#method».
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.geneea.celery.Celery;
import com.geneea.celery.CeleryWorkerCore;
import com.rabbitmq.client.Connection;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

public class Interop {
    static final ObjectMapper JSON = new ObjectMapper();
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static class Tasks {
        public double add(double x, double y) { return x + y; }
        public Object echo(Object value) { return value; }
        public Object nothing() { return null; }
        public Object fail(String text) { throw new IllegalArgumentException(text); }
        public double sub(double x, double y) { return x - y; }
        public double total(List<Double> numbers) { return numbers.stream().mapToDouble(Double::doubleValue).sum(); }
        public double now() { return System.currentTimeMillis() / 1000.0; }
        public Object keep(Object value, String key) throws Exception { return leave(key, JSON.writeValueAsString(value), value); }
        public Object errback(String failed) throws Exception { return leave("interop-errbacks-" + QUEUE, failed, failed); }
    }

    static class Worker extends CeleryWorkerCore {
        Worker(Connection connection, String queue) throws Exception { super(connection, queue, JSON); }
        @Override protected Object findTask(String name) { return name.equals("interop.Tasks") ? new Tasks() : null; }
    }

    static final String QUEUE = System.getenv().getOrDefault("QUEUE", "celery");

    /** A trace in Redis, whatever store results go to. */
    static Object leave(String key, String text, Object value) throws Exception {
        URI store = new URI(System.getenv("STORE"));
        try (Socket socket = new Socket(store.getHost(), store.getPort())) {
            ByteArrayOutputStream command = new ByteArrayOutputStream();
            command.write("*3\r\n".getBytes());
            for (String word : List.of("RPUSH", key, text)) {
                byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
                command.write(("$" + bytes.length + "\r\n").getBytes());
                command.write(bytes);
                command.write("\r\n".getBytes());
            }
            socket.getOutputStream().write(command.toByteArray());
            socket.getInputStream().read();
        }
        return value;
    }

    static boolean readsResults;

    static Map<String, Object> answer(Object... pairs) {
        Map<String, Object> made = new LinkedHashMap<>();
        for (int at = 0; at < pairs.length; at += 2) made.put((String) pairs[at], pairs[at + 1]);
        return made;
    }

    static Map<String, Object> call(Celery client, JsonNode ask) throws Exception {
        if (!ask.path("op").asText().equals("call")) return answer("cannot", "celery-java has no " + ask.path("op").asText());
        if (ask.path("options").size() > 0) return answer("cannot", "celery-java has no option " + ask.path("options").fieldNames().next());
        if (ask.path("kwargs").size() > 0) return answer("cannot", "celery-java sends no keyword arguments");
        Object[] args = JSON.convertValue(ask.path("args"), List.class).toArray();
        boolean wanted = ask.path("get").asBoolean(true);
        if (wanted && !readsResults) return answer("cannot", "celery-java reads results over RabbitMQ alone");
        Future<Object> result = client.submit(ask.path("task").asText(), args);
        if (!wanted) return answer("id", "");
        try {
            return answer("id", "", "state", "SUCCESS", "value", result.get(ask.path("timeout").asLong(4000), TimeUnit.SECONDS));
        } catch (TimeoutException late) {
            return answer("late", true);
        } catch (ExecutionException error) {
            String text = String.valueOf(error.getCause());
            String type = text.contains("ValueError") ? "ValueError" : "Error";
            return answer("id", "", "state", "FAILURE", "failure", text, "type", type);
        }
    }

    public static void main(String[] arguments) throws Exception {
        // Its driver wants the host «/» written as %2F.
        String broker = System.getenv("BROKER").replaceFirst("//$", "/%2F");
        String backend = System.getenv("BACKEND").replaceFirst("//$", "/%2F");
        if (arguments.length > 0 && arguments[0].equals("worker")) {
            new Worker(CeleryWorkerCore.connect(broker, Executors.newCachedThreadPool()), QUEUE).start();
            OUT.println("interop: ready");
            return;
        }
        String results = backend.startsWith("amqp") ? backend.replaceFirst("amqp", "rpc") : null;
        readsResults = results != null;
        Celery client = Celery.builder().brokerUri(broker).backendUri(results).queue(QUEUE).build();
        OUT.println(JSON.writeValueAsString(answer("ready", true)));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> said;
            try {
                said = call(client, JSON.readTree(line));
            } catch (Exception error) {
                said = answer("error", String.valueOf(error));
            }
            OUT.println(JSON.writeValueAsString(said));
        }
        System.exit(0);
    }
}
