//! `GET /v2/accounts/data_report`: what the server knows of an account, for its owner to read.

use std::fmt::Write as _;

use auth::{
    AccountService,
    settings::{DataReport, DeviceReport},
};
use axum::{Json, extract::State};
use protocol::{DeviceId, PhoneNumber, ambient::Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::refuse;
use crate::{caller::AuthenticatedDevice, reply::Refusal};

/// The report, for programs and (`text`) for people.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataReportBody {
    report_id: Uuid,
    report_timestamp: String,
    data: Data,
    pub(super) text: String,
}

#[derive(Serialize)]
struct Data {
    account: AccountData,
    devices: Vec<DeviceData>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccountData {
    phone_number: Option<PhoneNumber>,
    badges: [(); 0],
    allow_sealed_sender_from_anyone: bool,
    find_account_by_phone_number: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceData {
    id: DeviceId,
    last_seen: String,
    created: String,
    user_agent: Option<String>,
}

pub(super) async fn show(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<Json<DataReportBody>, Refusal> {
    let report = accounts.data_report(&device).await.map_err(refuse)?;
    Ok(Json(report.into()))
}

impl From<DataReport> for DataReportBody {
    fn from(report: DataReport) -> Self {
        let data = Data {
            account: AccountData {
                phone_number: report.number,
                badges: [],
                allow_sealed_sender_from_anyone: report.unrestricted_unidentified_access,
                find_account_by_phone_number: report.discoverable,
            },
            devices: report.devices.into_iter().map(DeviceData::from).collect(),
        };
        let report_timestamp = date_time(report.at);
        Self { report_id: report.id, text: text(report.id, &report_timestamp, &data), report_timestamp, data }
    }
}

impl From<DeviceReport> for DeviceData {
    fn from(device: DeviceReport) -> Self {
        Self {
            id: device.id,
            last_seen: date_time(device.last_seen),
            created: date_time(device.created),
            user_agent: device.agent.map(|agent| agent.as_str().to_owned()),
        }
    }
}

fn text(id: Uuid, at: &str, Data { account, devices }: &Data) -> String {
    let yes_no = |flag: bool| if flag { "yes" } else { "no" };
    let mut text = format!(
        "Report {id} of {at}\n\nAccount\n  Phone number: {}\n  Everyone may send with sealed sender: {}\n  \
         Can be found by phone number: {}\n  Badges: none\n\nDevices\n",
        account.phone_number.as_ref().map_or("none", PhoneNumber::as_str),
        yes_no(account.allow_sealed_sender_from_anyone),
        yes_no(account.find_account_by_phone_number),
    );
    for device in devices {
        let agent = device.user_agent.as_deref().unwrap_or("unknown");
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "  Device {}\n    Added: {}\n    Last seen on the day of: {}\n    Software: {agent}\n",
            device.id, device.created, device.last_seen,
        );
    }
    text
}

/// A moment as `2026-01-31T23:59:59Z` (RFC 3339), to the second.
fn date_time(moment: Timestamp) -> String {
    const DAY: u64 = 86_400;
    let seconds = moment.as_millis() / 1000;
    let (year, month, day) = date(seconds / DAY);
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The date of the day so many days after 1 January 1970, in the Gregorian calendar.
///
/// Years are counted from 1 March here, so that a leap day is the last of its year, and days from
/// 1 March of the year 0, with which a cycle of 400 years begins.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    const TO_1970: u64 = 719_468;
    const CYCLE: u64 = 146_097;
    let days = days_since_1970.saturating_add(TO_1970);
    let in_cycle = days % CYCLE;
    let year_in_cycle = (in_cycle - in_cycle / 1460 + in_cycle / 36_524 - in_cycle / (CYCLE - 1)) / 365;
    let in_year = in_cycle - (365 * year_in_cycle + year_in_cycle / 4 - year_in_cycle / 100);
    // From March on, five months have 153 days: 31, 30, 31, 30, 31.
    let month_from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = days / CYCLE * 400 + year_in_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn moments_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date_time(Timestamp::from_millis(seconds * 1000 + 999)), text);
        }
        // Not a panic.
        date_time(Timestamp::from_millis(u64::MAX));
    }

    #[test]
    fn the_report_has_the_documented_keys() {
        let id = Uuid::nil();
        let body = DataReportBody::from(DataReport {
            id,
            at: Timestamp::from_millis(0),
            number: Some("+15550100001".parse().unwrap()),
            unrestricted_unidentified_access: false,
            discoverable: true,
            devices: vec![DeviceReport {
                id: DeviceId::PRIMARY,
                last_seen: Timestamp::from_millis(0),
                created: Timestamp::from_millis(1000),
                agent: None,
            }],
        });
        assert!(body.text.contains("+15550100001") && body.text.contains("Device 1"));
        let mut json = serde_json::to_value(&body).unwrap();
        json["text"] = Value::Null;
        let expected = json!({
            "reportId": "00000000-0000-0000-0000-000000000000",
            "reportTimestamp": "1970-01-01T00:00:00Z",
            "data": {
                "account": {
                    "phoneNumber": "+15550100001",
                    "badges": [],
                    "allowSealedSenderFromAnyone": false,
                    "findAccountByPhoneNumber": true,
                },
                "devices": [{
                    "id": 1,
                    "lastSeen": "1970-01-01T00:00:00Z",
                    "created": "1970-01-01T00:00:01Z",
                    "userAgent": null,
                }],
            },
            "text": null,
        });
        assert_eq!(json, expected);
    }
}
