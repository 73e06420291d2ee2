"""A table: through CSV and back, grouped, joined, over time zones."""

import json

import pandas as pd

sales = pd.DataFrame({
    "city": ["Rom", "Oslo", "Rom", "Oslo", "Łódź"] * 200,
    "day": pd.date_range("2024-01-01", periods=1000, freq="h"),
    "count": range(1000),
    "price": [i / 4 for i in range(1000)],
})
sales.to_csv("sales.csv", index=False)
again = pd.read_csv("sales.csv", parse_dates=["day"])
grouped = again.groupby("city").agg(count=("count", "sum"), price=("price", "mean"))
people = pd.DataFrame({"city": ["Oslo", "Rom"], "people": [700_000, 2_800_000]})
joined = again.merge(people, on="city", how="left")
pivot = again.pivot_table(index=again["day"].dt.day, columns="city", values="count", aggfunc="max")
local = again["day"].dt.tz_localize("UTC").dt.tz_convert("Europe/Oslo")

print(json.dumps({
    "same": bool(again.equals(sales)),
    "sum": grouped["count"].to_dict(),
    "mean": grouped["price"].to_dict(),
    "unknown": int(joined["people"].isna().sum()),
    "people": int(joined["people"].sum()),
    "pivot": list(pivot.shape),
    "weekly": again.set_index("day").resample("W")["count"].sum().tolist(),
    "rolling": float(again["price"].rolling(10).mean().iloc[-1]),
    "local": local.iloc[0].isoformat(),
    "summer": (pd.Timestamp("2024-07-01", tz="UTC").tz_convert("America/New_York")).isoformat(),
}))
