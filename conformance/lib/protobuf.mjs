// Protocol Buffers, just enough to do without generated code. When read, every field comes out as its number
// and its raw value, so a test also sees a field that should not be there.

const VARINT = 0;
const FIXED_64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED_32 = 5;

class Reader {
  constructor(bytes) {
    this.bytes = Buffer.from(bytes);
    this.position = 0;
  }

  get done() {
    return this.position >= this.bytes.length;
  }

  varint() {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.bytes[this.position++];
      if (byte === undefined) throw new Error('truncated protobuf');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  take(length) {
    const end = this.position + length;
    if (!(end <= this.bytes.length)) throw new Error('malformed protobuf');
    const taken = this.bytes.subarray(this.position, end);
    this.position = end;
    return taken;
  }

  value(wireType) {
    switch (wireType) {
      case VARINT:
        return this.varint();
      case LENGTH_DELIMITED:
        return this.take(Number(this.varint()));
      case FIXED_64:
        return this.take(8);
      case FIXED_32:
        return this.take(4);
      default:
        throw new Error(`unsupported wire type ${wireType}`);
    }
  }
}

/** The fields of a message in order: `[{ number, value }]`, varints as bigint and the rest as bytes. */
export function readFields(bytes) {
  const reader = new Reader(bytes);
  const fields = [];
  while (!reader.done) {
    const key = Number(reader.varint());
    fields.push({ number: key >> 3, value: reader.value(key & 7) });
  }
  return fields;
}

/** The bytes of a message: `[[number, value]]`, where numbers become varints, and text and bytes length-delimited. */
export function writeFields(fields) {
  const parts = fields.flatMap(([number, value]) => {
    if (typeof value === 'number') return [varint(number << 3), varint(value)];
    const bytes = Buffer.from(value);
    return [varint((number << 3) | LENGTH_DELIMITED), varint(bytes.length), bytes];
  });
  return Uint8Array.from(Buffer.concat(parts));
}

function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 0x80)) {
    if (rest < 0x80) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 0x80) | 0x80);
  }
}
