-- A ledger as version 1 left it (dumped by sqlite3's iterdump): what a migration begins with.
PRAGMA application_id = 1346531188;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE "baselines" (
   "venue" TEXT NOT NULL,
   "asset" TEXT NOT NULL,
   "qty" TEXT NOT NULL,
   "recorded_ns" INTEGER NOT NULL,
   PRIMARY KEY ("venue", "asset")
) STRICT;
INSERT INTO "baselines" VALUES('binance-um','USDT','100000',1790000000000006000);
INSERT INTO "baselines" VALUES('binance-spot','BTC','2',1790000000000006000);
CREATE TABLE "events" (
   "id" INTEGER PRIMARY KEY NOT NULL,
   "ts_ns" INTEGER NOT NULL,
   "level" TEXT NOT NULL,
   "kind" TEXT NOT NULL,
   "message" TEXT NOT NULL,
   "venue" TEXT NOT NULL,
   "symbol" TEXT NOT NULL,
   "source" TEXT NOT NULL,
   "details" TEXT NOT NULL,
   "prev_hash" TEXT NOT NULL,
   "hash" TEXT NOT NULL
) STRICT;
INSERT INTO "events" VALUES(1,1790000000000007000,'INFO','startup','ledger equals venue','','','','{"n":1}','0000000000000000000000000000000000000000000000000000000000000000','76624b25f981b3b3f73917248e10f5834f013e9521f21b3c4d963e773e189cc0');
INSERT INTO "events" VALUES(2,1790000000000008000,'WARN','feed','book stale','binance-um','','','{}','76624b25f981b3b3f73917248e10f5834f013e9521f21b3c4d963e773e189cc0','2955f7063ca5e13a65841093cb3cb456bacb28fecefbb782ddb946043d3d1e2c');
CREATE TABLE "fills" (
   "seq" INTEGER PRIMARY KEY,
   "venue" TEXT NOT NULL,
   "symbol" TEXT NOT NULL,
   "order_id" TEXT NOT NULL,
   "trade_id" TEXT NOT NULL,
   "client_order_id" TEXT NOT NULL,
   "side" TEXT NOT NULL,
   "qty" TEXT NOT NULL,
   "price" TEXT NOT NULL,
   "fee" TEXT NOT NULL,
   "fee_asset" TEXT NOT NULL,
   "liquidity" TEXT NOT NULL,
   "ts_ms" INTEGER NOT NULL,
   "booked_ns" INTEGER NOT NULL,
   "trade_no" INTEGER,
   "lot_id" TEXT NOT NULL,
   "purpose" TEXT NOT NULL,
   "simulated" INTEGER NOT NULL
) STRICT;
INSERT INTO "fills" VALUES(1,'binance-um','BTCUSDT','900','70','pb1','SELL','0.016','61234.5','0.1','USDT','taker',1790000000001,1790000000000002000,70,'lot-1','open',0);
INSERT INTO "fills" VALUES(2,'binance-spot','BTCUSDT','901','71','pb2','BUY','0.016','61230.1','0.1','USDT','taker',1790000000001,1790000000000004000,71,'lot-1','open',0);
CREATE TABLE "foreign_fills" (
   "seq" INTEGER PRIMARY KEY,
   "venue" TEXT NOT NULL,
   "symbol" TEXT NOT NULL,
   "order_id" TEXT NOT NULL,
   "trade_id" TEXT NOT NULL,
   "client_order_id" TEXT NOT NULL,
   "side" TEXT NOT NULL,
   "qty" TEXT NOT NULL,
   "price" TEXT NOT NULL,
   "fee" TEXT NOT NULL,
   "fee_asset" TEXT NOT NULL,
   "liquidity" TEXT NOT NULL,
   "ts_ms" INTEGER NOT NULL,
   "booked_ns" INTEGER NOT NULL,
   "trade_no" INTEGER,
   "adopted" INTEGER NOT NULL
) STRICT;
CREATE TABLE "funding" (
   "venue" TEXT NOT NULL,
   "income_id" TEXT NOT NULL,
   "symbol" TEXT NOT NULL,
   "asset" TEXT NOT NULL,
   "amount" TEXT NOT NULL,
   "ts_ms" INTEGER NOT NULL,
   "booked_ns" INTEGER NOT NULL,
   PRIMARY KEY ("venue", "income_id")
) STRICT;
INSERT INTO "funding" VALUES('binance-um','f1','BTCUSDT','USDT','0.12',1790000000002,1790000000000005000);
CREATE TABLE "intents" (
   "id" TEXT PRIMARY KEY NOT NULL,
   "pair" TEXT NOT NULL,
   "purpose" TEXT NOT NULL,
   "lot_id" TEXT NOT NULL,
   "created_ns" INTEGER NOT NULL,
   "edge_bps" TEXT,
   "decided_on" TEXT NOT NULL,
   "simulated" INTEGER NOT NULL
) STRICT;
INSERT INTO "intents" VALUES('intent-1','BTCUSDT','open','lot-1',1790000000000000000,'5.1','{"binance-um":17}',0);
CREATE TABLE "lots" (
   "seq" INTEGER PRIMARY KEY,
   "id" TEXT NOT NULL,
   "pair" TEXT NOT NULL,
   "state" TEXT NOT NULL,
   "buy_venue" TEXT NOT NULL,
   "sell_venue" TEXT NOT NULL,
   "qty" TEXT NOT NULL,
   "opened_ns" INTEGER NOT NULL,
   "edge_bps" TEXT,
   "reference_bps" TEXT NOT NULL,
   "entry_bps" TEXT NOT NULL,
   "closed_ns" INTEGER,
   "realised" TEXT,
   "exit_reason" TEXT NOT NULL,
   "simulated" INTEGER NOT NULL
) STRICT;
INSERT INTO "lots" VALUES(1,'lot-1','BTCUSDT','OPEN','binance-spot','binance-um','0.016',1790000000000000000,'5.1','-0.3','5',NULL,NULL,'',0);
CREATE TABLE "meta" (
   "key" TEXT PRIMARY KEY NOT NULL,
   "value" TEXT NOT NULL
) STRICT;
INSERT INTO "meta" VALUES('probe','1');
CREATE TABLE "orders" (
   "seq" INTEGER PRIMARY KEY,
   "client_order_id" TEXT NOT NULL,
   "intent_id" TEXT NOT NULL,
   "lot_id" TEXT NOT NULL,
   "venue" TEXT NOT NULL,
   "symbol" TEXT NOT NULL,
   "side" TEXT NOT NULL,
   "purpose" TEXT NOT NULL,
   "qty" TEXT NOT NULL,
   "limit_price" TEXT,
   "time_in_force" TEXT NOT NULL,
   "reduce_only" INTEGER NOT NULL,
   "state" TEXT NOT NULL,
   "order_id" TEXT NOT NULL,
   "filled_qty" TEXT NOT NULL,
   "booked_qty" TEXT NOT NULL,
   "created_ns" INTEGER NOT NULL,
   "updated_ns" INTEGER NOT NULL,
   "reason" TEXT NOT NULL,
   "simulated" INTEGER NOT NULL
) STRICT;
INSERT INTO "orders" VALUES(1,'pb1','intent-1','lot-1','binance-um','BTCUSDT','SELL','open','0.016','61234.5','IOC',0,'FILLED','900','0.016','0.016',1790000000000000000,1790000000000002000,'',0);
INSERT INTO "orders" VALUES(2,'pb2','intent-1','lot-1','binance-spot','BTCUSDT','BUY','open','0.016','61230.1','IOC',0,'FILLED','901','0.016','0.016',1790000000000000000,1790000000000004000,'',0);
CREATE UNIQUE INDEX "idx_orders_client_order_id"
    ON "orders" ("client_order_id");
CREATE INDEX "idx_orders_venue_order_id"
    ON "orders" ("venue", "order_id");
CREATE INDEX "idx_orders_state"
    ON "orders" ("state");
CREATE UNIQUE INDEX "idx_fills_venue_symbol_order_id_trade_id"
    ON "fills" ("venue", "symbol", "order_id", "trade_id");
CREATE INDEX "idx_fills_venue_symbol_trade_no"
    ON "fills" ("venue", "symbol", "trade_no");
CREATE INDEX "idx_fills_lot_id"
    ON "fills" ("lot_id");
CREATE UNIQUE INDEX "idx_foreign_fills_venue_symbol_order_id_trade_id"
    ON "foreign_fills" ("venue", "symbol", "order_id", "trade_id");
CREATE INDEX "idx_foreign_fills_venue_symbol_trade_no"
    ON "foreign_fills" ("venue", "symbol", "trade_no");
CREATE UNIQUE INDEX "idx_lots_id"
    ON "lots" ("id");
CREATE INDEX "idx_lots_state"
    ON "lots" ("state");
COMMIT;
