// The envelope a server delivers in `PUT /api/v1/message`.

import * as Signal from '@signalapp/libsignal-client';
import { u8, uuidText } from './bytes.mjs';
import { readFields } from './protobuf.mjs';

/** Envelope types by name. */
export const EnvelopeType = Object.freeze({
  DoubleRatchet: 1,
  PreKey: 3,
  ServerDeliveryReceipt: 5,
  UnidentifiedSender: 6,
  PlaintextContent: 8,
});

const Field = Object.freeze({
  type: 1,
  clientTimestamp: 5,
  sourceDevice: 7,
  content: 8,
  serverTimestamp: 10,
  ephemeral: 12,
  urgent: 14,
  story: 16,
  reportSpamToken: 17,
  sourceServiceId: 19,
  destinationServiceId: 20,
  serverGuid: 21,
  updatedPni: 22,
});

/**
 * Reads an envelope. Absent fields are `undefined`, apart from the two flags whose protocol default is meant;
 * `fields` lists the numbers present, in the order of the bytes.
 */
export function parseEnvelope(bytes) {
  const fields = readFields(bytes);
  const value = (number) => fields.find((field) => field.number === number)?.value;
  const integer = (number) => (value(number) === undefined ? undefined : Number(value(number)));
  const guid = value(Field.serverGuid);
  return {
    type: integer(Field.type),
    clientTimestamp: integer(Field.clientTimestamp),
    serverTimestamp: integer(Field.serverTimestamp),
    source: serviceId(value(Field.sourceServiceId)),
    sourceDevice: integer(Field.sourceDevice),
    destination: serviceId(value(Field.destinationServiceId)),
    content: value(Field.content) === undefined ? undefined : u8(value(Field.content)),
    ephemeral: integer(Field.ephemeral) === 1,
    urgent: integer(Field.urgent) !== 0,
    urgentIsExplicit: value(Field.urgent) !== undefined,
    story: integer(Field.story) === 1,
    reportSpamToken: value(Field.reportSpamToken),
    guid: guid && uuidText(guid),
    updatedPni: value(Field.updatedPni) && uuidText(value(Field.updatedPni)),
    fields: fields.map((field) => field.number),
  };
}

/** An ACI is its 16 bytes; a PNI has a kind byte in front. */
function serviceId(bytes) {
  if (bytes === undefined) return undefined;
  if (bytes.length === 16) return Signal.Aci.fromUuidBytes(u8(bytes));
  return Signal.ServiceId.parseFromServiceIdBinary(u8(bytes));
}
