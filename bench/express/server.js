// A webhook handler as connectors are commonly written on Express and Sequelize: check the token, look the
// delivery up by its key, insert it if it is new, answer 200. Whatever Sequelize leaves open is at its default,
// but for the pool, which gets as many connections as ours.
'use strict';

const express = require('express');
const { DataTypes, Sequelize } = require('sequelize');

const { DATABASE_URL, PORT, TOKEN } = process.env;

const sequelize = new Sequelize(DATABASE_URL, { logging: false, pool: { max: 20 } });

const Delivery = sequelize.define('express_delivery', {
  uuid: { type: DataTypes.STRING, primaryKey: true },
  telephonySessionId: { type: DataTypes.STRING },
  payload: { type: DataTypes.TEXT, allowNull: false },
});

const app = express();
app.use(express.json());

app.post('/webhooks/ringcentral', async (request, response) => {
  if (request.get('verification-token') !== TOKEN) {
    response.status(401).end();
    return;
  }
  const { uuid, body } = request.body;
  const known = await Delivery.findOne({ where: { uuid } });
  if (!known) {
    await Delivery.create({
      uuid,
      telephonySessionId: body.telephonySessionId,
      payload: JSON.stringify(request.body),
    });
  }
  response.status(200).end();
});

async function main() {
  if (sequelize.getDialect() === 'sqlite') {
    await sequelize.query('PRAGMA journal_mode=WAL');
    await sequelize.query('PRAGMA synchronous=FULL');
  }
  await Delivery.sync();
  app.listen(Number(PORT), '127.0.0.1', 4096);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
