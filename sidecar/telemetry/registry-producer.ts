import { ValueType, type HrTime } from '@opentelemetry/api';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  DataPointType,
  type CollectionResult,
  type DataPoint,
  type Histogram,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import type { MetricObjectWithValues, MetricValue, MetricValueWithName, Registry } from 'prom-client';

type Family = MetricObjectWithValues<MetricValue<string>>;

/**
 * Gives the metrics of the registry to OpenTelemetry, under the same names: counted once, shown in two ways, and counting
 * costs nothing more when OTLP is on.
 */
export class RegistryProducer implements MetricProducer {
  readonly #registry: Registry;
  readonly #startTime: HrTime = hrTime(performance.timeOrigin);

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  async collect(): Promise<CollectionResult> {
    const families = (await this.#registry.getMetricsAsJSON()) as Family[];
    const endTime = hrTime(Date.now());
    const metrics = families.map((family) => this.#metric(family, endTime));
    const scopeMetrics = [{ scope: { name: 'holdline' }, metrics }];
    return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] };
  }

  #metric(family: Family, endTime: HrTime): MetricData {
    const { name, help, values } = family;
    const unit = /_seconds(?:_total)?$/.test(name) ? 's' : name.endsWith('_bytes') ? 'By' : '';
    const descriptor = { name, description: help, unit, valueType: ValueType.DOUBLE };
    const about = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE };
    const point = <T>(labels: object, value: T): DataPoint<T> => ({
      startTime: this.#startTime,
      endTime,
      attributes: { ...labels },
      value,
    });
    // The types of prom-client are a const enum, which type stripping does not have; what is there at run time is a word.
    switch (String(family.type)) {
      case 'counter': {
        const dataPoints = values.map(({ labels, value }) => point(labels, value));
        return { ...about, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints };
      }
      case 'histogram': {
        const dataPoints = histograms(values as MetricValueWithName<string>[]).map(([labels, value]) =>
          point(labels, value),
        );
        return { ...about, dataPointType: DataPointType.HISTOGRAM, dataPoints };
      }
      default: {
        const dataPoints = values.map(({ labels, value }) => point(labels, value));
        return { ...about, dataPointType: DataPointType.GAUGE, dataPoints };
      }
    }
  }
}

/** Puts together what Prometheus shows as `_bucket`, `_sum` and `_count`, where each bucket includes those below it. */
function histograms(values: readonly MetricValueWithName<string>[]): [labels: object, value: Histogram][] {
  const found = new Map<string, { labels: object; bounds: number[]; upTo: number[]; sum: number; count: number }>();
  for (const { labels, value, metricName } of values) {
    const { le, ...rest } = labels as Record<string, string | number>;
    const key = JSON.stringify(rest);
    const known = found.get(key) ?? { labels: rest, bounds: [], upTo: [], sum: 0, count: 0 };
    found.set(key, known);
    if (metricName?.endsWith('_sum')) known.sum = value;
    else if (metricName?.endsWith('_count')) known.count = value;
    else if (le !== undefined && le !== '+Inf') {
      known.bounds.push(Number(le));
      known.upTo.push(value);
    }
  }
  return [...found.values()].map(({ labels, bounds, upTo, sum, count }) => {
    const counts = [...upTo, count].map((value, at, all) => value - (all[at - 1] ?? 0));
    return [labels, { buckets: { boundaries: bounds, counts }, sum, count }];
  });
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
