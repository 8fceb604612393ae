//! What others charge for the same workload, where it can run there.
//!
//! Each counts the fewest of its units that the vendor's page allows. What it charges for the work itself
//! (Lambda, workers) is left out, as ours is.

use super::{Bill, GB, MILLION, Prices, Workload, float};

/// Express workflows end after five minutes.
const EXPRESS_HOURS_MAX: f64 = 5.0 / 60.0;
/// The least memory that an Express workflow is charged for, in GB.
const EXPRESS_MEMORY_GB: f64 = 64.0 / 1024.0;
/// The hours of a month, as Temporal converts a GB into GB hours.
const TEMPORAL_MONTH_HOURS: f64 = 744.0;
/// The most operations of a durable function.
const DURABLE_OPERATIONS_MAX: u64 = 3_000;

pub(super) fn bills(workload: &Workload, prices: &Prices) -> Vec<Bill> {
    let one = Peer { workload, prices };
    [
        Some(one.step_functions_standard()),
        one.step_functions_express(),
        one.lambda_durable(),
        Some(one.temporal_cloud()),
        Some(one.cloudflare_workflows()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

struct Peer<'a> {
    workload: &'a Workload,
    prices: &'a Prices,
}

impl Peer<'_> {
    fn bill(&self, system: &str, count: u64, unit: &str, million: f64) -> Bill {
        Bill {
            system: system.to_owned(),
            counted: format!("{count} {unit}"),
            requests: self.millions(count) * million,
            data: 0.0,
            standing: 0.0,
        }
    }

    /// So many of each execution, in millions.
    fn millions(&self, each: u64) -> f64 {
        float(each) * float(self.workload.executions) / MILLION
    }

    /// Everything that runs or waits, each try by itself.
    fn parts(&self) -> u64 {
        let Workload { steps, fan_out, sleeps, approvals, failures, .. } = *self.workload;
        steps + fan_out + sleeps + approvals + failures
    }

    /// The payloads of all executions in GB: the input and each result, once.
    fn payload_gb(&self) -> f64 {
        let Workload { steps, fan_out, payload_bytes, executions, .. } = *self.workload;
        float(1 + steps + fan_out) * float(payload_bytes) * float(executions) / GB
    }

    /// A transition for each state that is entered; one more for the Parallel or Map state.
    fn step_functions_standard(&self) -> Bill {
        let transitions = self.parts() + u64::from(self.workload.fan_out > 0);
        let million = self.prices.step_functions_standard.transition_million;
        self.bill("Step Functions Standard", transitions, "transitions", million)
    }

    /// A request, and the time that it is open, in steps of 100 ms; not over five minutes, and nobody can
    /// be waited for.
    fn step_functions_express(&self) -> Option<Bill> {
        let hours = self.workload.open_hours();
        if hours > EXPRESS_HOURS_MAX || self.workload.approvals > 0 {
            return None;
        }
        let prices = &self.prices.step_functions_express;
        let seconds = (hours * 36_000.0).ceil().max(1.0) / 10.0;
        let gb_seconds = seconds * EXPRESS_MEMORY_GB * float(self.workload.executions);
        let bill = self.bill("Step Functions Express", 1, "request", prices.request_million);
        Some(Bill {
            counted: format!("1 request, {seconds:.1} s"),
            requests: bill.requests + gb_seconds * prices.gb_second,
            ..bill
        })
    }

    /// An operation for the start and for each part; what is written, and kept.
    fn lambda_durable(&self) -> Option<Bill> {
        let operations = 1 + self.parts();
        if operations > DURABLE_OPERATIONS_MAX {
            return None;
        }
        let prices = &self.prices.lambda_durable;
        let kept = self.workload.stored_months() * prices.stored_gb_month;
        let million = prices.operation_million;
        let bill = self.bill("Lambda durable functions", operations, "operations", million);
        Some(Bill { data: self.payload_gb() * (prices.written_gb + kept), ..bill })
    }

    /// An action for the start and for each part; the cheaper of the two plans that have a price.
    fn temporal_cloud(&self) -> Bill {
        let actions = 1 + self.parts();
        let prices = &self.prices.temporal_cloud;
        let active = self.payload_gb() * self.workload.open_hours();
        let retained = self.payload_gb() * self.workload.kept.as_secs_f64() / 3_600.0;
        let gb_hours = |active: f64, retained: f64| {
            active * prices.active_gb_hour + retained * prices.retained_gb_hour
        };
        let included = |gb: f64| gb * TEMPORAL_MONTH_HOURS;
        let developer = Bill {
            data: gb_hours(active, retained),
            ..self.bill("Temporal Cloud", actions, "actions", prices.action_million[0].usd)
        };
        let beyond = self.millions(actions) - prices.business_actions_million;
        let business = Bill {
            requests: prices.actions(beyond.max(0.0)),
            data: gb_hours(
                (active - included(prices.business_active_gb)).max(0.0),
                (retained - included(prices.business_retained_gb)).max(0.0),
            ),
            ..developer.clone()
        };
        let with_plan = |bill: Bill, least: f64| Bill {
            standing: least.max((bill.requests + bill.data) * prices.plan_share),
            ..bill
        };
        let developer = with_plan(developer, 0.0);
        let business = with_plan(business, prices.business_month);
        if business.total() < developer.total() { business } else { developer }
    }

    /// A step for each part; what is kept.
    fn cloudflare_workflows(&self) -> Bill {
        let prices = &self.prices.cloudflare_workflows;
        let kept = self.payload_gb() * self.workload.stored_months() * prices.stored_gb_month;
        let bill = self.bill("Cloudflare Workflows", self.parts(), "steps", prices.step_million);
        Bill { data: kept, ..bill }
    }
}
