"""Metrics and traces of an OpenTelemetry SDK, exported by OTLP over gRPC through the proxy to a receiver."""

from concurrent import futures

import grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import kit
from proxy import BASIC, Proxy, basic_user


class Receiver(metrics_service_pb2_grpc.MetricsServiceServicer, trace_service_pb2_grpc.TraceServiceServicer):
    """Takes both kinds, which have one method of the same name each."""

    def __init__(self):
        self.metrics, self.spans, self.tenants = [], [], set()
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self, self.server)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def Export(self, request, context):
        self.tenants.add(dict(context.invocation_metadata()).get("x-scope-orgid"))
        if hasattr(request, "resource_metrics"):
            found = [scope for resource in request.resource_metrics for scope in resource.scope_metrics]
            self.metrics += [metric.name for scope in found for metric in scope.metrics]
            return metrics_service_pb2.ExportMetricsServiceResponse()
        found = [scope for resource in request.resource_spans for scope in resource.scope_spans]
        self.spans += [span.name for scope in found for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


def export():
    receiver = Receiver()
    route = {
        "src_paths": ["/opentelemetry.proto.collector.(metrics|trace).v1..*/Export"],
        "url_prefix": f"h2c://127.0.0.1:{receiver.port}",
        "headers": ["X-Scope-OrgID: 7"],
    }
    proxy = Proxy(basic_user(url_map=[route]))
    options = {"endpoint": proxy.target, "insecure": True, "headers": (BASIC, ("x-scope-orgid", "8")), "timeout": 60}
    provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(**options), 3_600_000)])
    provider.get_meter("test").create_counter("requests").add(7)
    kit.check("OTLP: metrics are exported", provider.force_flush(60_000) and receiver.metrics == ["requests"], receiver.metrics)
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(**options)))
    with tracing.get_tracer("test").start_as_current_span("work"):
        pass
    kit.check("OTLP: traces are exported", tracing.force_flush(60_000) and receiver.spans == ["work"], receiver.spans)
    kit.check("OTLP: the tenant is that of the config", receiver.tenants == {"7"}, receiver.tenants)
    provider.shutdown()
    tracing.shutdown()
    receiver.server.stop(0)
    proxy.stop()


PARTS = (export,)
