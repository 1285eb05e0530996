// A page that records OpenTelemetry with the web SDK, and exports OTLP in JSON over HTTP.
//
// The address of the receiver is the parameter `otlp` of the page's own address.
import { SpanStatusCode, trace } from "@opentelemetry/api";
import { logs, SeverityNumber } from "@opentelemetry/api-logs";
import { ZoneContextManager } from "@opentelemetry/context-zone";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { FetchInstrumentation } from "@opentelemetry/instrumentation-fetch";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, WebTracerProvider } from "@opentelemetry/sdk-trace-web";

const otlp = new URLSearchParams(location.search).get("otlp") ?? "http://127.0.0.1:4318";
const soon = { scheduledDelayMillis: 200 };
const resource = resourceFromAttributes({ "service.name": "page" });
const url = (signal) => ({ url: `${otlp}/v1/${signal}` });

new WebTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(url("traces")), soon)],
}).register({ contextManager: new ZoneContextManager() });
logs.setGlobalLoggerProvider(new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(url("logs")), ...soon })],
}));
const metrics = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(url("metrics")), exportIntervalMillis: 500, exportTimeoutMillis: 400,
  })],
});
registerInstrumentations({ instrumentations: [new FetchInstrumentation()] });
const clicks = metrics.getMeter("page").createCounter("page.clicks");

// Buy an item from the server of the page; the call of fetch sends the header traceparent.
async function buy(item) {
  clicks.add(1, { item });
  await trace.getTracer("page").startActiveSpan(`buy ${item}`, async (span) => {
    try {
      const response = await fetch(`/buy/${item}`);
      if (!response.ok) throw new Error(`the shop answered ${response.status}`);
      logs.getLogger("page").emit({ severityNumber: SeverityNumber.INFO, severityText: "INFO", body: `bought ${item}` });
    } catch (error) {
      span.recordException(error);
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      logs.getLogger("page").emit({ severityNumber: SeverityNumber.ERROR, severityText: "ERROR", body: error.message });
    }
    span.end();
  });
}

for (const button of document.querySelectorAll("button")) {
  button.addEventListener("click", () => buy(button.value));
}
