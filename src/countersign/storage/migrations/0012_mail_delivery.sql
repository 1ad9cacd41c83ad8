-- Mail that is delivered: sent_at is when the relay took a letter, whose code is dropped then; good_until is when its code
-- ends, NULL where it has none. Both in ms.
ALTER TABLE mail ADD COLUMN sent_at BIGINT;
ALTER TABLE mail ADD COLUMN good_until BIGINT;
